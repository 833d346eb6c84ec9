"""Finds a link in what people paste: with quotes, brackets or a whole command around it, wrapped into lines, escaped
for a shell, a mail, HTML or an address bar once too often, or with characters in it that nobody sees.

Nothing is decided here about the link itself: `p2p.wire.link` reads what comes out.
"""

import itertools
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
_SCHEME = re.compile(r"(?<![^\W_])(?<![+.-])(?:magnet:/{0,2}(?:\?|%3[fF])|shoal:|urn:shoal:)", re.IGNORECASE)
_ADDRESS = re.compile(r"shoal://(?:[^/@\s]*@)?(?:[a-z2-7]{58}|[a-z2-7]{52})(?![^/])", re.IGNORECASE)
"""The beginning of an address, which names a share or a mutable link."""
_CLOSING = {"'": "'", '"': '"', "`": "`", "(": ")", "<": ">", "{": "}"}
_ENDS = re.compile('["<>|^{}`\u00ab\u00bb\u2018-\u201f\u2039\u203a\u300c-\u300f]|\\]\\(')
"""What no link contains: quotes of all kinds, brackets, and the middle of a link in Markdown."""
TRAILING = ".,;:!?)}'*_~\u2026\u3002\uff0c\u3001"
"""What ends a sentence or closes a quote, so no link ends with it."""
_ID = re.compile(r"(?:(?<=/shares/)|(?<![\w/.-]))(?:[a-z2-7]{58}|[a-z2-7]{52})(?![\w-])", re.IGNORECASE)
"""A bare id, with or without a checksum; also in the address of a tracker's page of a share."""
_AROUND = re.compile(f'[\\s>|]+|^[{re.escape(TRAILING)}"`<(\\[{{]+|[{re.escape(TRAILING)}"`\\]]+$')
_SCHEMELESS = re.compile(r"(?<![\w/.:-])(?=[sm]/[a-z2-7]{58}(?![\w-]))", re.IGNORECASE)
"""The place where a link begins that lacks its scheme."""
_COMPLETE = re.compile(
    r"/(?:p\.[^/\s]*@[^/\s]*:[0-9]{1,5}|b\.[0-9]+|[a-z2-7]{58})(?=[^0-9A-Za-z/:.\s-]|$)", re.IGNORECASE
)
"""A part of a link that is whole, and is the last if no other follows at once."""
_CONTINUES = re.compile(r"[0-9a-f:]*(?:/|$)", re.IGNORECASE)
"""The rest of such a part that a line break cut, or the beginning of another."""
_IDENTITY = re.compile(
    r"shoal:/*(s/[a-z2-7]{58}(?![\w-])|m/[a-z2-7]{58}/[^/\s\"'<>|)\]]+)|xt=urn:shoal:([a-z2-7]{52})(?![\w-])",
    re.IGNORECASE,
)
"""What tells one link from another."""
_MANY = 4


def link_in(text: str) -> str:
    """The link in the text, without anything around it; if there is none, the text without its spaces and quotes."""
    text = _cleaned(text)
    found = _SCHEME.search(text)
    for _ in range(_MANY):
        if found is not None:
            return _trimmed(text, found)
        text = unquote(text)
        found = _SCHEME.search(text)
    if (place := _SCHEMELESS.search(text)) is not None:
        text = f"{text[: place.start()]}shoal:{text[place.start() :]}"
        if (found := _SCHEME.search(text)) is not None:
            return _trimmed(text, found)
    whole = _ID.search(text)
    return whole[0] if whole is not None else _AROUND.sub("", text)


def count_links(text: str) -> int:
    """How many different links the text has; one that is cut or wrapped is not counted beside others."""
    text = _cleaned(text)
    for _ in range(_MANY):
        text = unquote(text)
    found = sorted({(match[1] or match[2]).lower().rstrip(TRAILING) for match in _IDENTITY.finditer(text)})
    return sum(not other.startswith(one) for one, other in itertools.pairwise([*found, ""]))


def _cleaned(text: str) -> str:
    text = text.encode(errors="replace").decode()  # replaces what cannot be encoded, such as invalid bytes
    text = _INVISIBLE.sub("", text.translate(_WIDE))
    text = _SOFT_BREAK.sub("", text).replace("\\", "")
    if "&" in text:
        import html  # late: it loads all of HTML's entities

        for _ in range(_MANY):
            text = _ENTITY.sub(lambda match: html.unescape(match[0]), text)
    return re.sub(r"(?i)\b(xt|dn|xl|x\.pe|tr)=3d", r"\1=", text)


def _trimmed(text: str, found: re.Match[str]) -> str:
    """The link that begins at the match, whose lines and words are joined as far as they belong to it."""
    before, link = text[: found.start()].rstrip(), _MARGIN.sub("\n", text[found.start() :])
    closing = _CLOSING.get(before[-1:], "")
    if closing and closing in link:
        link = link[: link.index(closing)]
    if (end := _ENDS.search(link)) is not None:
        link = link[: end.start()]
    joined, is_whole = "", False
    for token in link.split():
        is_over = token[0] in "-#;" or token in {"&", "&&"} or (joined and _SCHEME.match(token))
        if is_over or (is_whole and not _CONTINUES.match(token)):
            break
        joined += token
        if joined[:1] in "sS" and (end := _COMPLETE.search(joined)) is not None:
            is_whole = True
            if end.end() < len(joined):
                joined = joined[: end.end()]
                break
        else:
            is_whole = False
    joined = joined.rstrip(TRAILING)
    if joined.endswith("]") and joined.count("[") < joined.count("]"):
        joined = joined[:-1].rstrip(TRAILING)
    scheme = found[0].lower()
    if scheme == "urn:shoal:":
        return f"magnet:?xt={joined}"
    if scheme.endswith("%3f"):
        joined = unquote(joined)
    if _ADDRESS.match(joined):
        return joined
    rest = joined.partition(":")[2].lstrip("/")
    return f"magnet:{rest}" if scheme.startswith("magnet") else f"shoal:{rest}"
