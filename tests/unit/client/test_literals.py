"""Links in a query. The tokens are those of DuckDB's tokenizer, as it was seen to answer."""

import re

import pytest

from p2p import ids
from p2p.client.sql.literals import Token, address_of, named_shares, rewritten, without_end
from p2p.errors import ConfigError
from p2p.ids import PeerId, ShareId
from p2p.wire.link import Link, PointerLink, Url

SHARE = ids.to_text(bytes(32))
LINK = str(Link(ShareId(bytes(32)), "data"))
MUTABLE = str(PointerLink(PeerId(bytes(32)), "it's"))
COMMENT, LITERAL, OTHER = (
    rb"--[^\n]*|/\*.*?\*/",
    rb"'(?:[^']|'')*'|\$\$.*?\$\$|[eE]'(?:[^'\\]|\\.)*'",
    rb"\"[^\"]*\"|[^\s'\"$;-]+|\S",
)
TOKENS = re.compile(rb"\s*(?:(%b)|(%b)|(%b))" % (COMMENT, LITERAL, OTHER), re.DOTALL)


def tokens(query: str) -> list[Token]:
    """Literals, comments and all else, each from where it begins."""
    return [
        Token(found.start(group), group == 2, group == 1)
        for found in TOKENS.finditer(query.encode())
        for group in (found.lastindex,)
        if group is not None
    ]


def changed(query: str, *named: str) -> str:
    return rewritten(query, tokens(query), named_shares(named), address_of)


def test_only_links_in_single_quotes_change() -> None:
    address = f"shoal://{SHARE}"
    assert changed(f"select 'é', x from '{LINK}/*.parquet' where a='é'") == (
        f"select 'é', x from '{address}/*.parquet' where a='é'"
    )
    for kept in (
        "",
        "select 1",
        "select 'it''s', 'data/x'",
        f"-- '{LINK}'\nselect 1",
        f"select 1 /* '{LINK}' */",
        f'select "{LINK}"',
        f"select $$'{LINK}'$$",
        f"select e'{LINK}'",
    ):
        assert changed(kept) == kept
    assert changed(f"from '{LINK}/a''b.csv' union from '{MUTABLE}/x'") == (
        f"from '{address}/a''b.csv' union from 'shoal://it''s@{SHARE}/x'"
    )
    with pytest.raises(ConfigError):
        changed("from 'shoal:s/mistyped/x'")


def test_shares_have_names() -> None:
    assert changed("from 't/*.csv', 'tt/*.csv', 't', 'u/x'", f"t={LINK}", f"u={LINK}/deep") == (
        f"from 'shoal://{SHARE}/*.csv', 'tt/*.csv', 't', 'shoal://{SHARE}/deep/x'"
    )
    assert changed("from 't/*.csv'", f"t={SHARE}") == f"from 'shoal://{SHARE}/*.csv'"
    for wrong in (("t",), ("=x",), ("a b=x",), (f"t={LINK}", f"t={LINK}"), ("t=nonsense",)):
        with pytest.raises(ConfigError):
            named_shares(wrong)


def test_a_statement_loses_its_end() -> None:
    for query, bare in (
        ("select 1 /* ; */ ; -- c", "select 1"),
        ("select ';'", "select ';'"),
        ("é ;; ", "é"),
        (";", ""),
    ):
        assert without_end(query, tokens(query)).strip() == bare


def test_an_address_says_where() -> None:
    assert address_of(Url(Link(ShareId(bytes(32))), "")) == f"shoal://{SHARE}"
