"""Checks whom a request addresses and which page it comes from: a web page anywhere can have a browser send it.

A page can call a server on its reader's machine, which `Origin` tells, and can give the server's address a name of its
own, so that the browser takes both for one site (DNS rebinding), which `Host` tells. An address cannot be forged so.
"""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

from starlette.datastructures import Headers

from ..text.errors import quote
from .addresses import ANY
from .errors import GatewayError
from .state import MAX_HEADER_BYTES, GatewayOptions


def check_headers(headers: Headers, options: GatewayOptions) -> None:
    """Raises GatewayError for too many headers, for another server's name, and for a page that may not call."""
    if sum(len(name) + len(value) for name, value in headers.raw) > MAX_HEADER_BYTES:
        message = f"headers: expected at most {MAX_HEADER_BYTES} bytes"
        raise GatewayError(431, "headers_too_large", message, headers={"connection": "close"})
    host, origin = headers.get("host"), headers.get("origin")
    if host is not None and not _is_own(_split(f"//{host}"), options):
        way_out = "start it with --allowed-host and this name if it is this server's"
        raise GatewayError(421, "host_not_allowed", f"host: {quote(host)} is not a name of this server; {way_out}")
    if origin is not None and not _may_call(origin, host, options):
        message = f"origin: {quote(origin)} may not call this server; see --cors"
        raise GatewayError(403, "origin_not_allowed", message)


def _is_own(host: SplitResult, options: GatewayOptions) -> bool:
    """True for the loopback's names, for every address, and for the names that the server was given."""
    name = host.hostname or ""
    if ANY in options.hosts or name == "localhost" or name in options.hosts:
        return True
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _may_call(origin: str, host: str | None, options: GatewayOptions) -> bool:
    """True for the server's own page and the origins of --cors. A proxy may have replaced the host by an address."""
    if origin in options.cors or ANY in options.cors:
        return True
    page = _split(origin)
    return page.netloc != "" and (page.netloc == (host or "").lower() or page.hostname in options.hosts)


def _split(url: str) -> SplitResult:
    """The parts of a URL; empty ones if it is not one."""
    try:
        parts = urlsplit(url.lower())
        return parts if parts.hostname else urlsplit("")
    except ValueError:
        return urlsplit("")
