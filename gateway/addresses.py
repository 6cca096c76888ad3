"""Options that name addresses: checked, and written as requests have them. One that no request matches is an error."""

from __future__ import annotations

import re
from ipaddress import IPv6Address, ip_address

from ..runtime.errors import RequestError

ANY = "*"
DEFAULT_PORTS = {"http": ":80", "https": ":443"}  # browsers leave them out
PORT_MAX = 65_535
_NAME = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*\.?")
# Its groups are the scheme, an address of IPv6, and the port.
_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://(?:\[([0-9a-f:.]+)\]|[a-z0-9_.-]+)(?::([0-9]{1,5}))?")


def parse_origin(text: str) -> str:
    """An origin as browsers send it: SCHEME://HOST[:PORT] in lower case; or `*` or `null`. Raises RequestError."""
    origin = text.strip().lower().removesuffix("/")
    if origin in (ANY, "null"):
        return origin
    match = _ORIGIN.fullmatch(origin)
    if match is None or (match[2] and not _is_ipv6(match[2])) or int(match[3] or 0) > PORT_MAX:
        expected = "an origin such as https://example.com, without a path, or *"
        raise RequestError(f"--cors: expected {_in_ascii(origin) or expected}, got {text!r}")
    return origin.removesuffix(DEFAULT_PORTS.get(match[1], ""))


def parse_host(text: str) -> str:
    """A name or address in lower case, or `*`. Raises RequestError."""
    name = text.strip().lower()
    if name == ANY or _NAME.fullmatch(name):
        return name
    try:
        ip_address(name)
    except ValueError:
        expected = "a name such as tts.example.com, without scheme, port and brackets, or * for any"
        raise RequestError(f"--allowed-host, --host: expected {_in_ascii(name) or expected}, got {text!r}") from None
    return name


def parse_root_path(text: str) -> str:
    """A path with a slash in front and none at its end; "" is the server's root. Raises RequestError."""
    if "://" in text or "?" in text or "#" in text:
        raise RequestError(f"--root-path: expected a path such as /tts, got {text!r}")
    return "".join(f"/{part}" for part in text.strip().split("/") if part)


def _in_ascii(text: str) -> str:
    """The way to write a text with other letters; empty for one in ASCII."""
    return "" if text.isascii() else "the ASCII form, which browsers send (xn--…)"


def _is_ipv6(text: str) -> bool:
    try:
        IPv6Address(text)
    except ValueError:
        return False
    return True
