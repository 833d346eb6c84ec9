"""What a search shows when more is found than can be shown."""

from p2p.discovery.search import MAX_HITS, Hit, _merged
from p2p.ids import H, PeerId, ShareId
from p2p.round_robin import in_turns


def hits(of: str, count: int, sources: int = 1) -> list[Hit]:
    return [
        Hit(ShareId(H("share", f"{of}{n}".encode())), of, 1, None, sources, None, PeerId(bytes(32)), "")
        for n in range(count)
    ]


def test_turns() -> None:
    assert list(in_turns(["abc", "d", "", "ef"])) == list("adebfc")
    assert list(in_turns([])) == []


def test_one_that_names_thousands_does_not_hide_what_the_others_found() -> None:
    flood, dht, few = hits("flood", 1000, 50), hits("dht", 200), hits("few", 3)
    shown = [hit.name for hit in _merged([flood, dht, few])]
    assert len(shown) == MAX_HITS
    assert shown.count("few") == 3
    assert shown.count("dht") >= MAX_HITS // 2 - 3


def test_a_share_is_shown_once_as_the_answer_with_the_most_sources_has_it() -> None:
    one, other = hits("same", 2, sources=1), hits("same", 2, sources=3)
    shown = _merged([one, other])
    assert [hit.sources for hit in shown] == [3, 3]
    assert [hit.share for hit in shown] == [hit.share for hit in one]
