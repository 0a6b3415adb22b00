"""Nothing in; the files of the search page out, as bytes in memory with their headers.

The table is fixed when it is first asked for, so no name from a request ever reaches the file
system: the application looks a name up in this mapping and knows no other way to a file. Called by
the application, which answers `GET /` with "index.html" and `GET /static/{name}` with the rest.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["CONTENT_SECURITY_POLICY", "PageFile", "page_files"]

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "worker-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
"""What the page may load: its own scripts, styles and answers, and nothing from anywhere else."""

_MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class PageFile:
    """One file of the page: `name` as in its address, `body`, `media_type` and all its headers.

    `headers` holds Content-Type, ETag (of the content), Cache-Control and the security headers;
    an `If-None-Match` that equals the ETag may be answered with 304.
    """

    name: str
    body: bytes
    media_type: str
    headers: Mapping[str, str]


@cache
def page_files() -> Mapping[str, PageFile]:
    """Every file of the page by name, read once; the mapping cannot be changed.

    Raises:
        FileNotFoundError: the package was installed without its page.
    """
    folder = files(__package__) / "page"
    found = {}
    for entry in sorted(folder.iterdir(), key=lambda each: each.name):
        suffix = entry.name[entry.name.rfind(".") :]
        if suffix in _MEDIA_TYPES:
            found[entry.name] = _page_file(entry.name, entry.read_bytes(), _MEDIA_TYPES[suffix])
    if "index.html" not in found:
        raise FileNotFoundError("the search page is missing from this installation: index.html")
    return MappingProxyType(found)


def _page_file(name: str, body: bytes, media_type: str) -> PageFile:
    headers = {
        "Content-Type": media_type,
        # The names carry no version: a browser asks each time, and mostly hears 304.
        "Cache-Control": "no-cache",
        "ETag": f'"{hashlib.sha256(body).hexdigest()[:32]}"',
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Resource-Policy": "same-origin",
    }
    if name.endswith((".html", ".svg")):
        headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    if name.endswith(".html"):
        headers["Permissions-Policy"] = "microphone=(self), camera=(), geolocation=()"
        headers["Cross-Origin-Opener-Policy"] = "same-origin"
    return PageFile(name, body, media_type, MappingProxyType(headers))
