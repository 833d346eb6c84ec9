# ruff: noqa: RUF001 - odd quotes and letters are what this is about
"""Links as people paste them: whatever a mailer, a chat, a shell or a word processor made of them, they are read."""

import html
import quopri
import textwrap
from collections.abc import Callable
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p import ids
from p2p.errors import ConfigError
from p2p.ids import PeerId, ShareId
from p2p.wire.address import Address
from p2p.wire.link import Link, PeerHint, PointerLink, is_link, parse_any_link
from p2p.wire.pasted import MAX_PASTED_CHARS, link_in

SHARE = ShareId(bytes(range(32)))
PEER = PeerId(bytes(range(32, 64)))
PEERS = (PeerHint(Address("192.0.2.1", 7474), PEER), PeerHint(Address("2001:db8::1", 7475), PEER))
TRACKERS = ("http://tracker.example:8750", "https://other.example/a")
LINK = Link(SHARE, "Bücher & more (2024).zip", 2**40, PEERS, TRACKERS)
POINTER = PointerLink(PEER, "News/today", PEERS, TRACKERS)
MAGNET = (
    f"magnet:?xt=urn:shoal:{ids.to_text(SHARE)}&dn={quote(LINK.name or '')}&xl={2**40}"
    f"&x.pe={ids.to_text(PEER)}@192.0.2.1:7474&x.pe={ids.to_text(PEER)}@[2001:db8::1]:7475"
    f"&tr={quote(TRACKERS[0], safe='')}&tr={quote(TRACKERS[1], safe='')}"
)
Wrap = Callable[[str], str]

ALL_FORMS: dict[str, Wrap] = {
    "as it is": lambda text: text,
    "spaces around": lambda text: f"  {text}\n",
    "single quotes": lambda text: f"'{text}'",
    "double quotes": lambda text: f'"{text}"',
    "curly quotes": lambda text: f"“{text}”",
    "curly single quotes": lambda text: f"‘{text}’",
    "low quotes": lambda text: f"„{text}“",
    "guillemets": lambda text: f"«{text}»",
    "guillemets with spaces": lambda text: f"« {text} »",
    "corner brackets": lambda text: f"「{text}」",
    "backticks": lambda text: f"`{text}`",
    "a fence": lambda text: f"```\n{text}\n```",
    "angle brackets": lambda text: f"<{text}>",
    "parentheses": lambda text: f"({text})",
    "square brackets": lambda text: f"[{text}]",
    "one quote only": lambda text: f"'{text}",
    "the other quote only": lambda text: f'{text}"',
    "the end of a sentence": lambda text: f"{text}.",
    "a question": lambda text: f"Did you see {text}?",
    "dots and a quote": lambda text: f"'{text}'...",
    "Markdown": lambda text: f"[my holiday]({text})",
    "Markdown with a title": lambda text: f'[my holiday]({text} "all of it")',
    "Markdown, linked twice": lambda text: f"[{text}]({text})",
    "bold": lambda text: f"**{text}**",
    "Slack": lambda text: f"<{text}|holiday>",
    "HTML": lambda text: f'<a href="{html.escape(text)}">holiday</a>',
    "escaped for HTML": html.escape,
    "escaped for HTML twice": lambda text: html.escape(html.escape(text)),
    "numeric entities": lambda text: text.replace("&", "&#38;"),
    "a command": lambda text: f"shoal get '{text}'",
    "a command with a prompt": lambda text: f"$ shoal get '{text}' --out /tmp/x",
    "a command with options and no quotes": lambda text: f"shoal get {text} --out /tmp/x",
    "a command and a comment": lambda text: f'shoal get "{text}"  # all of it',
    "two commands": lambda text: f"shoal get '{text}' && ls",
    "words before": lambda text: f"The link is: {text}",
    "a label": lambda text: f"Link:{text}",
    "wrapped at 70": lambda text: "\n".join(textwrap.wrap(text, 70)),
    "wrapped at 40, indented": lambda text: "\n   ".join(textwrap.wrap(text, 40)),
    "wrapped with CRLF": lambda text: "\r\n".join(textwrap.wrap(text, 70)),
    "wrapped in a reply": lambda text: "> " + "\n> ".join(textwrap.wrap(text, 60)),
    "wrapped in a reply to a reply": lambda text: ">> " + "\n>> ".join(textwrap.wrap(text, 60)),
    "wrapped in quotes": lambda text: "'" + "\n".join(textwrap.wrap(text, 70)) + "'",
    "wrapped by spaces": lambda text: " ".join(textwrap.wrap(text, 70)),
    "continued by a shell": lambda text: "\\\n".join(textwrap.wrap(text, 70)),
    "quoted-printable": lambda text: quopri.encodestring(text.encode()).decode(),
    "soft line breaks": lambda text: "=\n".join(textwrap.wrap(text, 70)),
    "zero-width spaces": lambda text: "\u200b".join(textwrap.wrap(text, 9)),
    "a byte order mark": lambda text: f"\ufeff{text}",
    "marks of direction": lambda text: f"\u2068\u200e{text}\u2069",
    "soft hyphens": lambda text: "\u00ad".join(textwrap.wrap(text, 11)),
    "word joiners": lambda text: "\u2060".join(textwrap.wrap(text, 8)),
    "no-break spaces": lambda text: f"\u00a0{text}\u00a0",
    "narrow and wide spaces": lambda text: f"\u202f\u2009{text}\u3000",
    "line separators": lambda text: "\u2028".join(textwrap.wrap(text, 70)),
    "tabs": lambda text: f"\t{text}\t",
    "escaped for a shell": lambda text: text.replace("?", "\\?").replace("&", "\\&").replace("=", "\\="),
    "percent-encoded": lambda text: quote(text, safe=""),
    "percent-encoded twice": lambda text: quote(quote(text, safe=""), safe=""),
    "percent-encoded, in part": lambda text: quote(text, safe=":/?&="),
    "slashes after the scheme": lambda text: text.replace(":", "://", 1),
    "full width": lambda text: text.replace(":", "：", 1).replace("?", "？", 1),
    "a capital": lambda text: text[0].upper() + text[1:],
    "a full stop of another script": lambda text: f"{text}。",
}


@pytest.mark.parametrize("form", ALL_FORMS)
@pytest.mark.parametrize(("text", "link"), [(str(LINK), LINK), (str(POINTER), POINTER), (MAGNET, LINK)])
def test_a_pasted_link_keeps_its_id_and_all_hints(form: str, text: str, link: Link | PointerLink) -> None:
    pasted = ALL_FORMS[form](text)
    assert is_link(pasted)
    assert parse_any_link(pasted) == link


@pytest.mark.parametrize("form", ALL_FORMS)
def test_a_pasted_id_is_read(form: str) -> None:
    if "scheme" not in form:
        for text in (ids.to_text(SHARE), str(LINK)[8:66]):
            assert parse_any_link(ALL_FORMS[form](text)) == Link(SHARE)


@pytest.mark.parametrize("text", [str(LINK), str(POINTER), MAGNET])
def test_in_upper_case_everything_that_matters_is_the_same(text: str) -> None:
    link, same = parse_any_link(text.upper()), parse_any_link(text)
    assert link.peers == same.peers
    if isinstance(link, PointerLink):
        assert isinstance(same, PointerLink)
        assert (link.publisher, link.name) == (same.publisher, same.name)
    else:
        assert isinstance(same, Link)
        assert (link.share_id, link.size) == (same.share_id, same.size)


def test_without_its_head_a_magnet_is_read() -> None:
    assert parse_any_link(MAGNET.removeprefix("magnet:?xt=")) == LINK


OTHERS = {
    "of a share": str(Link(ShareId(bytes(32)))),
    "with hints": str(Link(ShareId(bytes(32)), "other", 5, PEERS)),
    "mutable": str(PointerLink(PEER, "other", PEERS)),
    "magnet": f"magnet:?xt=urn:shoal:{ids.to_text(bytes(32))}",
}


@pytest.mark.parametrize("between", [" ", "\n", ", ", ",", ";", "", " and ", "\n\n> "])
@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_of_two_links_none_is_dropped_without_a_word(other: str, between: str) -> None:
    for text in (str(LINK), str(POINTER), MAGNET):
        if text == MAGNET and not between:
            continue  # its last parameter may be anything
        with pytest.raises(ConfigError, match="These are 2 links"):
            parse_any_link(text + between + other)


AROUND: dict[str, Wrap] = {
    "words": lambda text: f"Here it is: {text} enjoy!",
    "lines": lambda text: f"{text}\nThanks,\nBob",
    "emoji": lambda text: f"{text} 😀",
    "an emoji, tight": lambda text: f"{text}😀",
    "no space, as in Chinese": lambda text: f"链接：{text}谢谢",
    "BBCode": lambda text: f"[url={text}]holiday[/url]",
    "Org": lambda text: f"[[{text}][holiday]]",
    "MediaWiki": lambda text: f"[{text} holiday]",
    "cells": lambda text: f"holiday;{text};2024",
    "cells with commas": lambda text: f"holiday,{text},2024",
    "Safe Links": lambda text: f"https://x.safelinks.example/?url={quote(text, safe='')}&data=05%7C01",
    "a wall of mail": lambda text: f"https://wall.example/v3/__{text}__;!!abc",
}


@pytest.mark.parametrize("form", AROUND)
@pytest.mark.parametrize("link", [Link(SHARE, "a", 5, PEERS), Link(SHARE, "a", 5), PointerLink(PEER, "news", PEERS)])
def test_what_follows_a_link_spoils_none_of_its_hints(form: str, link: Link | PointerLink) -> None:
    assert parse_any_link(AROUND[form](str(link))) == link


@pytest.mark.parametrize("link", [LINK, POINTER])
def test_a_link_may_lack_its_scheme(link: Link | PointerLink) -> None:
    text = str(link).removeprefix("shoal:")
    for pasted in (text, f"<{text}>", f"Look: {text}", "\n".join(textwrap.wrap(text, 70)), text.upper()):
        assert parse_any_link(pasted).peers == link.peers


def test_words_after_a_whole_link_are_no_part_of_it() -> None:
    assert parse_any_link(f"{Link(SHARE)} is the one") == Link(SHARE)


@pytest.mark.parametrize("text", ["/tmp/file", "file.txt", "", "a b", "shoal", "magnet", ids.to_text(SHARE)])
def test_what_is_no_link(text: str) -> None:
    assert not is_link(text)


wrappings = st.lists(st.sampled_from([form for name, form in ALL_FORMS.items() if "capital" not in name]), max_size=2)


@given(st.sampled_from([str(LINK), str(POINTER), MAGNET]), wrappings)
def test_one_thing_on_top_of_another_is_a_link_or_an_error(text: str, forms: list[Wrap]) -> None:
    for form in forms:
        text = form(text)
    try:
        parse_any_link(text)
    except ConfigError as error:
        str(error).encode()


@given(st.text(max_size=200))
def test_what_was_found_is_found_again(text: str) -> None:
    found = link_in(text)
    assert " " not in found
    if is_link(text):
        assert link_in(found) == found


def test_a_text_without_end_is_refused_at_once() -> None:
    with pytest.raises(ConfigError, match="longer than"):
        parse_any_link("&amp;" * MAX_PASTED_CHARS)
