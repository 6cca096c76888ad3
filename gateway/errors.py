"""Errors as clients of OpenAI's routes read them: {"error": {"message", "type", "param", "code"}} and a status."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ..runtime.errors import (
    BackendError,
    Cancelled,
    Overloaded,
    RequestError,
    SchedulerClosed,
    is_out_of_memory,
    one_line,
)
from ..text.errors import quote

logger = logging.getLogger("tacoglow.serve")


class GatewayError(Exception):
    """A request that is answered with an error. param: the field that it is about, if it is about one."""

    def __init__(
        self, status: int, code: str, message: str, param: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.param = status, code, message, param
        self.headers = dict(headers or {})

    @property
    def body(self) -> dict[str, Any]:
        """The error object, which is also an event of a stream."""
        kind = "server_error" if self.status >= 500 else "invalid_request_error"
        return {"error": {**self.details, "type": kind}}

    @property
    def details(self) -> dict[str, Any]:
        """The error without its type, which a message of a WebSocket has for itself."""
        return {"message": self.message, "param": self.param, "code": self.code}

    def response(self) -> Response:
        return JSONResponse(self.body, self.status, self.headers)


def invalid(param: str, message: str, code: str = "invalid_value") -> GatewayError:
    """An invalid value of a field."""
    return GatewayError(400, code, message, param)


def overloaded(message: str, seconds: float = 1.0) -> GatewayError:
    """seconds: after which another try makes sense."""
    return GatewayError(503, "overloaded", message, headers={"retry-after": str(math.ceil(seconds))})


def as_gateway_error(error: Exception) -> GatewayError:
    """The answer to an error of the runtime. Defects are logged; clients see no details."""
    if isinstance(error, GatewayError):
        return error
    if isinstance(error, Overloaded):
        return overloaded(one_line(error), error.expected_wait)
    if isinstance(error, SchedulerClosed):
        return overloaded(one_line(error))
    if isinstance(error, RequestError):
        return GatewayError(400, "invalid_value", one_line(error))
    if isinstance(error, Cancelled):
        return overloaded("the server is shutting down; send the request again")
    if is_out_of_memory(error):
        logger.error("not enough memory: %s", one_line(error))
        return GatewayError(503, "out_of_memory", "not enough memory; send a shorter text, or try again later")
    if isinstance(error, BackendError):
        logger.error("synthesis failed: %s", one_line(error))
    else:
        logger.error("synthesis failed", exc_info=error)
    # openai's clients would send a request again that can only fail again.
    return GatewayError(500, "synthesis_failed", "the speech could not be made; see the server's log", headers=NO_RETRY)


NO_RETRY = {"x-should-retry": "false"}


async def answer_gateway_error(request: Request, error: Exception) -> Response:
    return as_gateway_error(error).response()


async def answer_http_error(request: Request, error: Exception) -> Response:
    """Starlette's own errors, such as an unknown route, in our shape."""
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        return GatewayError(404, "route_not_found", f"{quote(request.url.path)}: there is no such route").response()
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "")
        message = f"{quote(request.url.path)}: expected {allowed or 'another method'}, got {request.method}"
        return GatewayError(405, "method_not_allowed", message, headers=error.headers).response()
    return GatewayError(error.status_code, "invalid_value", error.detail, headers=error.headers).response()


async def answer_defect(request: Request, error: Exception) -> Response:
    return GatewayError(500, "internal_error", "the server failed; see its log", headers=NO_RETRY).response()
