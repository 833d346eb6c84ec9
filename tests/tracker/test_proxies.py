"""Whatever a client sends before it, what the operator's own proxies add is what counts."""

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tracker.proxies import Proxies

PROXY = "192.0.2.1"
CLIENT, OTHER = "203.0.113.7", "2001:db8::7"
WORDS = st.text(st.sampled_from('for=proto;,"\\\\ [].:19abx\t'), max_size=40)
LINES = st.lists(WORDS, max_size=4)


def seen(proxies: Proxies, *lines: tuple[str, str], client: str = PROXY, scheme: str = "http") -> tuple[str, str]:
    """The client and the scheme of a request with these header lines."""
    headers = [(name.encode(), value.encode()) for name, value in lines]
    scope: dict[str, Any] = {"type": "http", "client": (client, 4711), "scheme": scheme, "headers": headers}
    proxies.believe(scope)
    return scope["client"][0], scope["scheme"]


def legacy(hops: int = 1) -> Proxies:
    return Proxies(frozenset({PROXY}), "x-forwarded-for", hops)


def modern(hops: int = 1) -> Proxies:
    return Proxies(frozenset({PROXY}), "forwarded", hops)


@given(LINES, st.sampled_from([CLIENT, OTHER]), st.integers(1, 4), st.booleans())
def test_what_a_client_sends_does_not_count(sent: list[str], client: str, hops: int, joins: bool) -> None:
    lines = list(sent)
    for number in range(hops):  # the outermost proxy first; each adds who spoke to it
        added = client if not number else f"10.0.0.{number}"
        if joins and lines:
            lines[-1] = f"{lines[-1]}, {added}"
        else:
            lines.append(added)
    assert seen(legacy(hops), *(("x-forwarded-for", line) for line in lines))[0] == client


@given(LINES, st.sampled_from([CLIENT, f"[{OTHER}]"]), st.integers(1, 4), st.booleans(), st.booleans())
@example(['for="x', "for=9.9.9.9"], CLIENT, 2, True, False)
@example(['for=9.9.9.9, for="x'], CLIENT, 2, True, True)
@example(['for="\\\\'], f"[{OTHER}]", 1, True, True)
def test_what_a_client_sends_in_forwarded_does_not_count(
    sent: list[str], client: str, hops: int, joins: bool, quotes: bool
) -> None:
    lines = list(sent)
    for number in range(hops):
        node = client if not number else f"10.0.0.{number}"
        added = f'for="{node}";proto=https' if quotes or node.startswith("[") else f"for={node};proto=https"
        if joins and lines:
            lines[-1] = f"{lines[-1]}, {added}"
        else:
            lines.append(added)
    found, scheme = seen(modern(hops), *(("forwarded", line) for line in lines))
    # An open quote of the client's makes its whole header worth nothing.
    assert (found, scheme) in {(client.strip("[]"), "https"), (PROXY, "http")}
    if not any('"' in line for line in sent):
        assert found != PROXY


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("for=203.0.113.7", CLIENT),
        ("For=203.0.113.7:4711 ; by=10.0.0.1", CLIENT),
        ('for="203.0.113.7:4711"', CLIENT),
        ('for="[2001:db8::7]:4711";host="a,b"', OTHER),
        ('for="[2001:db8::7]"', OTHER),
        ("for=unknown", PROXY),
        ("for=_hidden", PROXY),
        ("by=203.0.113.7", PROXY),
        ("for=203.0.113.7;for=203.0.113.8", PROXY),
        ("", PROXY),
    ],
)
def test_forms_of_forwarded(value: str, expected: str) -> None:
    assert seen(modern(), ("forwarded", value))[0] == expected


def test_fewer_entries_than_proxies_are_nobodys() -> None:
    assert seen(legacy(2), ("x-forwarded-for", CLIENT))[0] == PROXY
    assert seen(modern(3), ("forwarded", f"for={CLIENT}, for=10.0.0.1"))[0] == PROXY
    assert seen(legacy(2), ("x-forwarded-for", CLIENT), ("x-forwarded-for", "10.0.0.1"))[0] == CLIENT


def test_the_header_that_was_not_named_is_ignored() -> None:
    both = (
        ("x-forwarded-for", "198.51.100.1"),
        ("forwarded", f"for={CLIENT};proto=https"),
        ("x-forwarded-proto", "http"),
    )
    assert seen(modern(), *both) == (CLIENT, "https")
    assert seen(legacy(), *both) == ("198.51.100.1", "http")
    assert seen(modern(), both[0]) == (PROXY, "http")


def test_only_a_proxy_that_was_named_is_believed() -> None:
    line = ("x-forwarded-for", CLIENT), ("x-forwarded-proto", "https")
    assert seen(legacy(), *line, client="198.51.100.9") == ("198.51.100.9", "http")
    assert seen(Proxies(), *line) == (PROXY, "http")
    assert seen(legacy(), *line, client="::ffff:192.0.2.1") == (CLIENT, "https")


def test_a_long_header_costs_little() -> None:
    assert seen(modern(), ("forwarded", '"\\' * 50_000))[0] == PROXY
    assert seen(modern(), ("forwarded", "for=" * 50_000))[0] == PROXY
