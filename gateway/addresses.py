"""Options that name addresses: checked, and written as requests have them. One that no request matches is an error."""

from __future__ import annotations

import re
from ipaddress import ip_address
from urllib.parse import urlsplit

from ..runtime.errors import RequestError

ANY = "*"
DEFAULT_PORTS = {"http": ":80", "https": ":443"}  # browsers leave them out
_NAME = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*\.?")
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(\[[0-9a-f:.]+\]|[a-z0-9_.-]+)(:\d{1,5})?")


def parse_origin(text: str) -> str:
    """An origin as browsers send it: SCHEME://HOST[:PORT] in lower case; or `*` or `null`. Raises RequestError."""
    origin = text.strip().lower().removesuffix("/")
    if origin in (ANY, "null"):
        return origin
    if _ORIGIN.fullmatch(origin) is None:
        raise RequestError(
            f"--cors: expected an origin such as https://example.com, without a path, or *, got {text!r}"
        )
    return origin.removesuffix(DEFAULT_PORTS.get(urlsplit(origin).scheme, ""))


def parse_host(text: str) -> str:
    """A name or address in lower case, or `*`. Raises RequestError."""
    name = text.strip().lower()
    if name == ANY or _NAME.fullmatch(name):
        return name
    try:
        ip_address(name)
    except ValueError:
        expected = "a name such as tts.example.com, without scheme and port, or * for any"
        raise RequestError(f"--allowed-host, --host: expected {expected}, got {text!r}") from None
    return name


def parse_root_path(text: str) -> str:
    """A path with a slash in front and none at its end; "" is the server's root. Raises RequestError."""
    if "://" in text or "?" in text or "#" in text:
        raise RequestError(f"--root-path: expected a path such as /tts, got {text!r}")
    return "".join(f"/{part}" for part in text.strip().split("/") if part)
