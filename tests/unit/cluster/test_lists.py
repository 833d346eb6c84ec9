"""The lists of whom a peer lends to, and whom it takes."""

import pytest

from p2p.cluster import lists
from p2p.cluster.lists import Lists, listed
from p2p.errors import ConfigError
from p2p.ids import PeerId, to_text

A, B = PeerId(bytes(range(32))), PeerId(bytes(range(32, 64)))


def test_nobody_is_listed_at_first() -> None:
    empty = Lists()
    assert not empty.lends_to(A)
    assert not empty.takes(A)


def test_the_two_lists_are_apart() -> None:
    one = Lists(allow=[to_text(A)], trust=[to_text(B)])
    assert (one.lends_to(A), one.takes(A), one.lends_to(B), one.takes(B)) == (True, False, False, True)


def test_a_change_is_told_before_it_is_made() -> None:
    one = Lists(allow=[to_text(A)])
    assert one.changed("allow", B, removed=False) == (to_text(A), to_text(B))
    assert not one.lends_to(B)
    one.change("allow", B, removed=False)
    assert one.lends_to(B)
    assert one.changed("allow", A, removed=True) == (to_text(B),)
    one.change("allow", A, removed=True)
    assert one.names("allow") == (to_text(B),)


def test_what_is_no_id_is_refused_with_words() -> None:
    with pytest.raises(ConfigError, match="`shoal status` shows"):
        listed("my friend")
    with pytest.raises(ConfigError, match="not the id"):
        Lists(allow=["127.0.0.1:7474"])


def test_a_list_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists, "MAX_LISTED", 1)
    one = Lists(allow=[to_text(A)])
    assert one.changed("allow", A, removed=False) == (to_text(A),)
    with pytest.raises(ConfigError, match="that is the most"):
        one.changed("allow", B, removed=False)
