"""What a browser may do with a file: show it in place, or save it.

Shown are pictures, sound, films and plain text, by the end of the file's name. Whatever could run code, or is unknown,
is saved: nothing in a share becomes a page of this peer.
"""

from urllib.parse import quote

from p2p.site.text import visible

SAVED = "application/octet-stream"
TEXT = "text/plain; charset=utf-8"
SHOWN = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "gif": "image/gif",
    "webp": "image/webp",
    "avif": "image/avif",
    "mp3": "audio/mpeg",
    "m4a": "audio/mp4",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "oga": "audio/ogg",
    "ogg": "audio/ogg",
    "opus": "audio/ogg",
    "weba": "audio/webm",
    "mp4": "video/mp4",
    "m4v": "video/mp4",
    "mov": "video/quicktime",
    "mkv": "video/x-matroska",
    "ogv": "video/ogg",
    "webm": "video/webm",
    "txt": TEXT,
    "text": TEXT,
    "log": TEXT,
    "md": TEXT,
    "csv": TEXT,
    "tsv": TEXT,
}
HEADERS = {
    "x-content-type-options": "nosniff",
    "content-security-policy": (
        "sandbox; default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}
"""The headers of every answer."""


def type_of(name: str) -> str:
    """The media type of a file with this name."""
    return SHOWN.get(name.rpartition(".")[2].lower(), SAVED) if "." in name else SAVED


def disposition(name: str) -> str:
    """Whether the file is shown or saved, and under which name (RFC 8187): one that looks like what it is."""
    how = "attachment" if type_of(name) == SAVED else "inline"
    return f"{how}; filename*=UTF-8''{quote(visible(name), safe='')}"
