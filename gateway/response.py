"""Answers whose body is made while it is sent: headers wait for the first bytes, and a client that leaves stops it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from typing import cast

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from .errors import as_gateway_error
from .state import Gateway
from .tasks import run_until_first


class SpokenResponse(Response):
    """Sends what an iterator yields. An error before the first bytes has its own status; a later one breaks the
    connection, so that no client takes a part for the whole."""

    def __init__(self, gateway: Gateway, chunks: AsyncIterator[bytes], media_type: str, headers: Mapping[str, str]):
        self._gateway, self._chunks = gateway, cast(AsyncGenerator[bytes, None], chunks)
        self._is_whole = False
        super().__init__(None, 200, dict(headers), media_type)
        del self.headers["content-length"]

    @classmethod
    def whole(
        cls, gateway: Gateway, chunks: AsyncIterator[bytes], media_type: str, headers: Mapping[str, str]
    ) -> SpokenResponse:
        """Sends everything at once, with its length."""
        response = cls(gateway, chunks, media_type, headers)
        response._is_whole = True
        return response

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._gateway.speaking += 1
        try:
            await run_until_first(self._speak(send), _disconnected(receive))
        finally:
            self._gateway.speaking -= 1

    async def _speak(self, send: Send) -> None:
        started = False
        async with aclosing(self._chunks) as chunks:
            try:
                if self._is_whole:
                    body = b"".join([chunk async for chunk in chunks])
                    self.headers["content-length"] = str(len(body))
                    await self._start(send)
                    await send({"type": "http.response.body", "body": body})
                    return
                async for chunk in chunks:
                    if not started:
                        await self._start(send)
                        started = True
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
            except Exception as error:
                raise as_gateway_error(error) from error
        await send({"type": "http.response.body", "body": b""})

    async def _start(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
