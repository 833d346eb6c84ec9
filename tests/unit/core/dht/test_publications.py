"""What is published: every record fits, belongs under its key, and is due again before it expires."""

from hypothesis import given
from hypothesis import strategies as st

from p2p.core.dht import publications
from p2p.core.dht.publications import INTERVAL_S, JITTER, again_after, due_at, has_grown, keyword_items, provider_items
from p2p.identity import Identity
from p2p.ids import ShareId
from p2p.wire import keywords, records
from p2p.wire.records import LONGEST_S, MAX_RECORD_BYTES, RecordKind, Titles, keyword_key
from p2p.wire.tracker import Capacity

ME = Identity.generate()
NETWORK = "tests"
NOW = 1_800_000_000
keys = st.binary(min_size=32, max_size=32)
shares = st.lists(st.tuples(keys.map(ShareId), st.text(min_size=1, max_size=200), st.integers(0, 2**50)), max_size=12)


def sealed(item: publications.Item) -> records.Record:
    return records.seal(ME, NETWORK, item.key, item.payload, sequence=1, now=NOW, lasts_s=item.lasts_s)


@given(shares)
def test_every_keyword_record_fits_and_is_accepted(known: list[tuple[ShareId, str, int]]) -> None:
    for item in keyword_items(known):
        record = sealed(item)
        assert len(record.raw) <= MAX_RECORD_BYTES
        assert records.read(record.raw, item.key, NOW, NETWORK).payload == item.payload
        for key in item.others:
            other = records.seal(ME, NETWORK, key, item.payload, sequence=1, now=NOW, lasts_s=item.lasts_s)
            assert records.read(other.raw, key, NOW, NETWORK).payload == item.payload


@given(shares)
def test_keys_are_published_once(known: list[tuple[ShareId, str, int]]) -> None:
    found = [item.key for item in keyword_items(known)]
    assert len(found) == len(set(found))


def test_a_share_is_found_by_each_telling_word_of_its_name() -> None:
    share = ShareId(bytes(32))
    items = {item.key: item for item in keyword_items([(share, "Summer Holidays 2024.zip", 5)])}
    assert set(items) == {keyword_key(word) for word in ("summer", "holidays", "2024")}
    for item in items.values():
        assert isinstance(item.payload, Titles)
        assert [title.share for title in item.payload.titles] == [share]


def test_many_shares_of_one_word_go_on_in_the_next_shards() -> None:
    known = [(ShareId(bytes([number]) * 32), f"concert {number:03}", 1) for number in range(40)]
    concert = [item for item in keyword_items(known) if item.key in {keyword_key("concert", n) for n in range(4)}]
    assert [item.key for item in concert] == [keyword_key("concert", shard) for shard in range(4)]
    assert [len(item.others) for item in concert] == [3, 2, 1, 0]


def test_a_long_name_is_cut_on_a_whole_letter() -> None:
    (item, *_) = keyword_items([(ShareId(bytes(32)), "träume " + "ä" * 200, 1)])
    assert isinstance(item.payload, Titles)
    assert len(item.payload.titles[0].title.encode()) <= records.MAX_TITLE_BYTES


@given(st.sampled_from(RecordKind), st.floats(0, 1))
def test_a_record_is_due_again_well_before_it_expires(kind: RecordKind, chance: float) -> None:
    again = due_at(NOW, kind, chance) - NOW
    assert (1 - JITTER) * INTERVAL_S[kind] <= again <= (1 + JITTER) * INTERVAL_S[kind] < 0.75 * LONGEST_S[kind]


@given(st.integers(1, 2000), st.floats(0, 1))
def test_failures_are_tried_again_ever_less_often_but_always(failures: int, chance: float) -> None:
    assert 0.5 < again_after(failures, chance, answered=False) <= 150
    assert 20 < again_after(failures, chance, answered=True) <= 1100


@given(st.integers(0, 100), st.booleans())
def test_what_a_small_network_stores_is_published_again_as_it_grows(before: int, settled: bool) -> None:
    assert not has_grown(before, before, settled=settled) or before == 0
    assert has_grown(before, 2 * before + 1, settled=settled) == (before < publications.MANY_NODES)
    assert has_grown(before, before + 1, settled=False) == (before < publications.MANY_NODES)


def test_where_the_publisher_is_matters_only_to_records_that_say_so() -> None:
    (provider,) = provider_items([(ShareId(bytes(32)), records.WHOLE)])
    (keyword, *_) = keyword_items([(ShareId(bytes(32)), "something", 1)])
    assert provider.content("main", "here") != provider.content("main", "there")
    assert keyword.content("main", "here") == keyword.content("main", "there")
    assert keyword.content("main", "here") != keyword.content("test", "here")


def test_words_are_bounded() -> None:
    names = [f"{number:05} {number:06}x" for number in range(1000)]
    known = [(ShareId(number.to_bytes(32, "big")), name, 1) for number, name in enumerate(names)]
    assert len({item.key for item in keyword_items(known)}) <= publications.MAX_WORDS
    assert keywords.telling(names[0], 6, 0)


def test_a_name_without_spaces_is_found_by_every_piece_of_two_characters() -> None:
    items = {item.key for item in keyword_items([(ShareId(bytes(32)), "東京タワーの夜景", 5)])}
    assert items == {keyword_key(word) for word in ("東京", "京タ", "タワ", "ワー", "ーの", "の夜", "夜景")}


def test_pieces_displace_no_other_names_words() -> None:
    """A hundred names without spaces would have more keys than a peer publishes."""
    long = [chr(0x4E00 + 40 * number + n) for number in range(100) for n in range(39)]
    names = ["".join(long[39 * number : 39 * number + 39]) for number in range(100)]
    known = [(ShareId(number.to_bytes(32, "big")), name, 1) for number, name in enumerate([*names[:80], "other name"])]
    found = {item.key for item in keyword_items(known)}
    assert len(found) == publications.MAX_WORDS
    assert keyword_key("other") in found


def test_a_volunteer_is_found_by_each_of_its_runtimes() -> None:
    capacity = Capacity(("python-wasm", "wasm"), 4, 2**30, load=0.7)
    items = list(publications.capacity_items(capacity))
    assert [item.key for item in items] == [records.capacity_key("python-wasm"), records.capacity_key("wasm")]
    for item in items:
        assert records.read(sealed(item).raw, item.key, NOW, NETWORK).payload == records.OfferedCapacity(
            Capacity(("python-wasm", "wasm"), 4, 2**30)
        )


def test_who_looks_for_volunteers_is_found_by_the_runtime_as_who_lacks_a_share() -> None:
    (item,) = publications.hiring_items(["python-wasm"])
    assert item.key == records.hiring_key("python-wasm")
    assert item.others == tuple(records.hiring_key("python-wasm", shard) for shard in (1, 2, 3))
    assert records.read(sealed(item).raw, item.key, NOW, NETWORK).payload == records.Provider((), bytes(8))
    assert item.key != records.capacity_key("python-wasm")
