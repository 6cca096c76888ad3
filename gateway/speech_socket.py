"""WS /v1/audio/speech/stream: text in parts, speech sentence by sentence. vllm-omni's messages, and two of our own."""

from __future__ import annotations

from functools import partial

import anyio
from starlette.websockets import WebSocket, WebSocketDisconnect

from .boundary import bearer_key, is_key
from .errors import GatewayError, as_gateway_error
from .origins import check_headers
from .speech_session import SessionConfig, SpeechSession, parse_config, receive_text
from .state import Gateway, client_of, gateway_of

CONFIG_SECONDS = 10.0  # time limit for the first message
REFUSED, FAILED, TRY_LATER = 1008, 1011, 1013  # close codes of RFC 6455
OWN_CODES = 3000  # the first of those that programs may give a meaning


async def speech_stream(websocket: WebSocket) -> None:
    """One session. A failure is told in a message and by the close code."""
    gateway = gateway_of(websocket)
    key = bearer_key(websocket.headers) or websocket.query_params.get("api_key", "")
    websocket.scope["query_string"] = b""  # so that no log has the key
    await websocket.accept()
    audio_format, code = "", 1000
    try:
        _check_allowed(gateway, websocket, key)
        config = await _receive_config(gateway, websocket)
        audio_format = config.settings.encoding.audio_format
        await SpeechSession(websocket, gateway, config).run()
        await websocket.close(code)
    except WebSocketDisconnect as error:
        code = min(error.code, OWN_CODES)  # counted as one, or a client could make thousands of counters
    except Exception as error:
        code = await _refuse(websocket, as_gateway_error(error))
    finally:
        gateway.metrics.request("/v1/audio/speech/stream", audio_format, code)


def _check_allowed(gateway: Gateway, websocket: WebSocket, key: str) -> None:
    """The headers and the key: browsers let every page open a WebSocket, and leave it to the server to refuse."""
    check_headers(websocket.headers, gateway.options)
    expected = gateway.options.api_key
    if expected is not None and not is_key(expected, key):
        message = "api_key: expected this server's key, in ?api_key= or as 'Authorization: Bearer KEY'"
        raise GatewayError(401, "invalid_api_key", message, "api_key")
    gateway.check_accepts(client_of(websocket.client))


async def _receive_config(gateway: Gateway, websocket: WebSocket) -> SessionConfig:
    try:
        with anyio.fail_after(CONFIG_SECONDS):
            text = await receive_text(websocket)
    except TimeoutError as error:
        raise GatewayError(408, "request_timeout", f"session.config: none within {CONFIG_SECONDS:g} s") from error
    with gateway.answering(client_of(websocket.client)):  # those that wait are counted too
        return await gateway.read(len(text), partial(parse_config, text, gateway.voices))


async def _refuse(websocket: WebSocket, error: GatewayError) -> int:
    """Tell the error and close; returns the close code."""
    code = TRY_LATER if error.status == 503 else FAILED if error.status >= 500 else REFUSED
    try:
        await websocket.send_json({"type": "error", **error.details})
        await websocket.close(code)
    except WebSocketDisconnect:
        pass  # it has left meanwhile
    return code
