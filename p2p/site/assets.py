"""Static files of pages, in memory and named by their content's hash; and headers of pages, which allow no others."""

import hashlib
import mimetypes
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

SECURITY_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
STATIC = Path(__file__).parent / "static"
"""The style and the icon of all pages."""


class Asset:
    """A static file in memory."""

    def __init__(self, path: Path) -> None:
        self.content = path.read_bytes()
        self.tag = hashlib.sha256(self.content).hexdigest()[:16]
        self.media_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        self.url = f"/static/{path.name}?v={self.tag}"


class AssetAnswer(NamedTuple):
    """What to answer to a request for a static file."""

    status: int
    headers: dict[str, str]
    body: bytes


class Assets:
    """The static files in some folders."""

    def __init__(self, folders: Iterable[Path]) -> None:
        files = (path for folder in folders for path in sorted(folder.iterdir()) if path.is_file())
        self._assets = {path.name: Asset(path) for path in files}

    def url(self, name: str) -> str:
        """The address of a file, for pages."""
        return self._assets[name].url

    def answer(self, name: str, version: str | None, headers: Mapping[str, str]) -> AssetAnswer | None:
        """Makes the answer to a request; None if there is no such file. One asked for by its hash is kept for ever."""
        found = self._assets.get(name)
        if found is None:
            return None
        tag = f'"{found.tag}"'
        kept = "public, max-age=31536000, immutable" if version == found.tag else "no-cache"
        said = SECURITY_HEADERS | {"etag": tag, "cache-control": kept}
        if headers.get("if-none-match") == tag:
            return AssetAnswer(304, said, b"")
        return AssetAnswer(200, said | {"content-type": found.media_type}, found.content)
