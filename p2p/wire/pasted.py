"""Finds a link in what people paste: with quotes, brackets or a whole command around it, wrapped into lines, escaped
for a shell, a mail, HTML or an address bar once too often, or with characters in it that nobody sees.

Nothing is decided here about the link itself: `p2p.wire.link` reads what comes out.
"""

import html
import re
from urllib.parse import unquote

MAX_PASTED_CHARS = 64 * 1024
_INVISIBLE = re.compile("[\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff]")
_WIDE = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
"""The characters of ASCII in full width, as input methods of East Asia type them."""
_SOFT_BREAK = re.compile(r"=[ \t]*\r?\n")
"""Where a mailer has cut a line that it encoded as quoted-printable."""
_ENTITY = re.compile(r"&(?:amp|lt|gt|quot|apos|nbsp|#[0-9]{1,6}|#[xX][0-9a-fA-F]{1,6});")
_MARGIN = re.compile(r"\n[ \t>|]*")
"""The beginning of a line, which a mailer or a chat may mark as quoted."""
_SCHEME = re.compile(r"(?<![\w+.-])(?:magnet:/{0,2}(?:\?|%3[fF])|shoal:|urn:shoal:)", re.IGNORECASE)
_CLOSING = {"'": "'", '"': '"', "`": "`", "(": ")", "<": ">", "{": "}"}
_ENDS = re.compile('["<>|^{}`\u00ab\u00bb\u2018-\u201f\u2039\u203a\u300c-\u300f]|\\]\\(')
"""What no link contains: quotes of all kinds, brackets, and the middle of a link in Markdown."""
TRAILING = ".,;:!?)}'*_~\u2026\u3002\uff0c\u3001"
"""What ends a sentence or closes a quote, so no link ends with it."""
_ID = re.compile(r"(?:(?<=/shares/)|(?<![\w/.-]))(?:[a-z2-7]{58}|[a-z2-7]{52})(?![\w-])", re.IGNORECASE)
"""A bare id, with or without a checksum; also in the address of a tracker's page of a share."""
_AROUND = re.compile(f'[\\s>|]+|^[{re.escape(TRAILING)}"`<(\\[{{]+|[{re.escape(TRAILING)}"`\\]]+$')
_WHOLE = re.compile(r"shoal:/*[sm]/[a-z2-7]{58}", re.IGNORECASE)
_MANY = 4


def link_in(text: str) -> str:
    """The link in the text, without anything around it; if there is none, the text without its spaces and quotes."""
    text = text.encode(errors="replace").decode()  # replaces what cannot be encoded, such as invalid bytes
    text = _INVISIBLE.sub("", text.translate(_WIDE))
    text = _SOFT_BREAK.sub("", text).replace("\\", "")
    for _ in range(_MANY):
        text = _ENTITY.sub(lambda match: html.unescape(match[0]), text)
    text = re.sub(r"(?i)\b(xt|dn|xl|x\.pe|tr)=3d", r"\1=", text)
    found = _SCHEME.search(text)
    for _ in range(_MANY):
        if found is not None:
            return _trimmed(text, found)
        text = unquote(text)
        found = _SCHEME.search(text)
    whole = _ID.search(text)
    return whole[0] if whole is not None else _AROUND.sub("", text)


def _trimmed(text: str, found: re.Match[str]) -> str:
    """The link that begins at the match, whose lines and words are joined as far as they belong to it."""
    before, link = text[: found.start()].rstrip(), _MARGIN.sub("\n", text[found.start() :])
    closing = _CLOSING.get(before[-1:], "")
    if closing and closing in link:
        link = link[: link.index(closing)]
    if (end := _ENDS.search(link)) is not None:
        link = link[: end.start()]
    first, *others = link.split()
    joined = first
    for token in others:
        is_over = token[0] in "-#;" or token in {"&", "&&"} or _SCHEME.match(token)
        if is_over or (_WHOLE.fullmatch(joined) and token[0] != "/"):
            break
        joined += token
    joined = joined.rstrip(TRAILING)
    if joined.endswith("]") and joined.count("[") < joined.count("]"):
        joined = joined[:-1].rstrip(TRAILING)
    scheme = found[0].lower()
    if scheme == "urn:shoal:":
        return f"magnet:?xt={joined}"
    if scheme.endswith("%3f"):
        joined = unquote(joined)
    rest = joined.partition(":")[2].lstrip("/")
    return f"magnet:{rest}" if scheme.startswith("magnet") else f"shoal:{rest}"
