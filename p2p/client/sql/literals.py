"""Links in a query: each becomes an address `shoal://...`, but only in a literal within single quotes.

Where literals, names and comments are is not decided here: DuckDB's own tokenizer says so.
"""

import itertools
import re
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from p2p.client.filesystem.addresses import SCHEME, root_of
from p2p.errors import ConfigError
from p2p.formats import quoted
from p2p.wire.link import Url, parse_any_link
from p2p.wire.within import is_within, parse_within

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


class Token(NamedTuple):
    """A piece of a query: where it begins, in bytes of UTF-8, and whether it is a literal text, or a comment."""

    begin: int
    is_text: bool
    is_comment: bool


def named_shares(options: Iterable[str]) -> dict[str, Url]:
    """The shares that the user gave names, each as NAME=LINK. Raises ConfigError."""
    found: dict[str, Url] = {}
    for option in options:
        name, equals, link = option.partition("=")
        if not equals or _NAME.fullmatch(name) is None:
            raise ConfigError(f"{quoted(option)} is not NAME=LINK, where NAME has letters, digits, - and _.")
        if name in found:
            raise ConfigError(f"Two shares are named {name}.")
        found[name] = parse_within(link) if is_within(link) else Url(parse_any_link(link), "")
    return found


def rewritten(query: str, tokens: Iterable[Token], shares: Mapping[str, Url], address: Callable[[Url], str]) -> str:
    """The query with addresses in place of links, and of `NAME/` for the shares with names. Raises ConfigError."""
    data, tokens = query.encode(), list(tokens)
    pieces: list[bytes] = []
    at = 0
    ends = (token.begin for token in tokens[1:])
    for token, end in zip(tokens, itertools.chain(ends, [len(data)]), strict=False):
        piece = data[token.begin : end]
        literal = piece.rstrip()
        if not token.is_text or literal[:1] != b"'" or literal[-1:] != b"'" or len(literal) < 2:
            continue
        url = _named(literal[1:-1].decode().replace("''", "'"), shares)
        if url is None:
            continue
        pieces += [data[at : token.begin], as_literal(address(url)).encode(), piece[len(literal) :]]
        at = end
    pieces.append(data[at:])
    return b"".join(pieces).decode()


def without_end(query: str, tokens: Iterable[Token]) -> str:
    """One statement without the semicolon and the comments after it."""
    data = query.encode()
    end = len(data)
    for token in reversed(list(tokens)):
        if not token.is_comment and data[token.begin : end].strip() != b";":
            break
        end = token.begin
    return data[:end].decode()


def as_literal(text: object) -> str:
    """A text as it is written in SQL."""
    return "'{}'".format(str(text).replace("'", "''"))


def address_of(url: Url) -> str:
    """The address of a file or folder, or of what a pattern matches."""
    return f"{SCHEME}{root_of(url.link)}/{url.path}".rstrip("/")


def _named(text: str, shares: Mapping[str, Url]) -> Url | None:
    if is_within(text):
        return parse_within(text)
    name, slash, path = text.partition("/")
    if slash and (share := shares.get(name)) is not None:
        return share._replace(path="/".join(filter(None, (share.path, path))))
    return None
