"""The page: the files of web/ as browsers are given them, read once, when the first one asks. Knows no speech."""

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

FOLDER = Path(__file__).parents[1] / "web"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
HEADERS = {
    # Scripts, styles and requests of this server alone; blob: is sound that the page itself holds.
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; media-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",  # asked for anew, and answered with 304: never a page of another version
    "vary": "accept",
}


@dataclass(frozen=True, slots=True)
class _File:
    body: bytes
    kind: str
    etag: str


@functools.cache
def _files() -> dict[str, _File]:
    """By name. Nothing else can be asked for, whatever stands in a path."""
    found = {}
    for path in FOLDER.iterdir():
        if path.suffix in TYPES:
            body = path.read_bytes()
            found[path.name] = _File(body, TYPES[path.suffix], f'"{hashlib.sha256(body).hexdigest()[:16]}"')
    return found


def wants_page(request: Request) -> bool:
    """A browser that is to show something; curl and scripts take whatever there is."""
    return "text/html" in request.headers.get("accept", "")


def page_file(request: Request, name: str) -> Response:
    """Raises HTTPException where there is none of that name."""
    file = _files().get(name)
    if file is None:
        raise HTTPException(404)
    headers = HEADERS | {"etag": file.etag}
    if file.etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(file.body, headers=headers | {"content-type": file.kind})
