"""Who may change what this server keeps for others. Knows connections and settings."""

import ipaddress
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import Scope

from server.settings import Settings

FORWARDED = "forwarded", "x-forwarded-for", "x-real-ip", "via"
"""Behind a proxy everybody seems to ask from its machine."""


class NotAllowed(Exception):
    """Who asks may speak and listen, no more."""


def may_change(scope: Scope, settings: Settings) -> None:
    """Raises NotAllowed but for whoever has the key, which the guard has asked for; where there is none, for programs
    here and this server's own page."""
    if settings.api_key:
        return
    headers, client = Headers(scope=scope), scope.get("client")
    origin = headers.get("origin")
    foreign = origin is not None and urlsplit(origin).netloc.lower() != headers.get("host", "").lower()
    if foreign or not client or not _is_loopback(client[0]) or any(name in headers for name in FORWARDED):
        raise NotAllowed("voices are changed from this machine alone, or with a key: set TTS_API_KEY and send it")


def _is_loopback(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback
