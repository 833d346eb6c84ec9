"""Chunk numbers of a share, against a list of all chunks."""

from itertools import accumulate

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from p2p.core.shares import bitmap
from p2p.core.shares.layout import ChunkPlace, Layout
from p2p.core.shares.manifest import Entry, chunk_bytes
from tests.support.manifests import KIB, MIB, file, folder, layout_of, manifest_of

sizes = st.one_of(
    st.integers(0, 3),
    st.integers(250 * KIB, 260 * KIB),
    st.sampled_from([256 * KIB, 512 * KIB, 3 * MIB, 3 * MIB + 1, 500 * MIB, 500 * MIB + 1]),
    st.integers(0, 2 * MIB),
)
entries = st.lists(st.none() | sizes, max_size=12).map(
    lambda many: [folder(f"{n:03}") if size is None else file(f"{n:03}", size=size) for n, size in enumerate(many)]
)


def all_chunks(found: list[Entry]) -> list[tuple[ChunkPlace, bytes]]:
    """Where each chunk lies, and its hash, one after the other."""
    listed = []
    for index, entry in enumerate(found):
        each = chunk_bytes(entry.size)
        for number, offset in enumerate(range(0, entry.size, each)):
            place = ChunkPlace(index, offset, min(each, entry.size - offset))
            listed.append((place, entry.hashes[32 * number : 32 * number + 32]))
    return listed


@given(entries)
@example([])
def test_every_chunk_has_its_place(found: list[Entry]) -> None:
    layout = Layout(manifest_of(found))
    chunks = all_chunks(found)
    assert layout.chunks == len(chunks)
    assert layout.everything == (1 << len(chunks)) - 1
    assert layout.largest_chunk == max((place.size for place, _ in chunks), default=0)
    step = max(1, len(chunks) // 50)
    for number in {*range(0, len(chunks), step), *range(max(0, len(chunks) - 3), len(chunks))}:
        assert (layout.place(number), layout.hash(number)) == chunks[number]
        assert layout.size(number) == chunks[number][0].size


@given(entries, st.data())
def test_places_one_behind_the_other(found: list[Entry], data: st.DataObject) -> None:
    layout = Layout(manifest_of(found))
    places = [place for place, _ in all_chunks(found)]
    first = data.draw(st.integers(0, len(places)))
    assert [*layout.places(first)] == places[first:]


@given(entries, st.data())
def test_as_many_chunks_as_fit(found: list[Entry], data: st.DataObject) -> None:
    layout = Layout(manifest_of(found))
    sizes = [place.size for place, _ in all_chunks(found)]
    first = data.draw(st.integers(0, len(sizes)))
    some = sum(sizes[first : first + data.draw(st.integers(0, len(sizes)))])
    most_bytes = max(0, some + data.draw(st.sampled_from([-1, 0, 1, 300_000])))
    totals = accumulate(sizes[first:])
    assert layout.fitting(first, most_bytes) == sum(total <= most_bytes for total in totals)


@given(entries, st.data())
def test_bytes_of_chunks(found: list[Entry], data: st.DataObject) -> None:
    layout = Layout(manifest_of(found))
    sizes = [place.size for place, _ in all_chunks(found)]
    first = data.draw(st.integers(0, len(sizes)))
    count = data.draw(st.integers(0, len(sizes) - first))
    assert layout.run_bytes(first, count) == sum(sizes[first : first + count])
    chunks = data.draw(st.integers(0, layout.everything)) if len(sizes) < 100 else layout.everything
    assert layout.bytes_in(chunks) == sum(sizes[chunk] for chunk in bitmap.members(chunks))
    assert layout.bytes_in(layout.everything) == layout.manifest.root.size


@given(entries, st.data())
def test_the_chunks_of_entries(found: list[Entry], data: st.DataObject) -> None:
    layout = Layout(manifest_of(found))
    places = [place for place, _ in all_chunks(found)]
    for index in range(len(found)):
        first, count = layout.range_of(index)
        numbers = [number for number, place in enumerate(places) if place.entry == index]
        assert list(range(first, first + count)) == numbers
    some = data.draw(st.sets(st.integers(0, len(found) - 1))) if found else set()
    expected = [number for number, place in enumerate(places) if place.entry in some]
    assert list(bitmap.members(layout.chunks_of(some))) == expected
    assert list(layout.files) == [index for index, entry in enumerate(found) if entry.size]
    assert list(layout.empty()) == [index for index, entry in enumerate(found) if not entry.size]


@given(entries.filter(lambda found: any(entry.size for entry in found)), st.data())
def test_the_chunks_with_some_bytes(found: list[Entry], data: st.DataObject) -> None:
    layout = Layout(manifest_of(found))
    index = data.draw(st.sampled_from([index for index, entry in enumerate(found) if entry.size]))
    offset = data.draw(st.integers(0, found[index].size))
    end = data.draw(st.integers(offset, found[index].size))
    expected = [
        number
        for number, (place, _) in enumerate(all_chunks(found))
        if place.entry == index and max(place.offset, offset) < min(place.offset + place.size, end)
    ]
    assert list(bitmap.members(layout.chunks_in(index, offset, end - offset))) == expected


def test_many_files_at_once() -> None:
    layout = layout_of([1] * 40)
    assert layout.chunks_of(range(0, 40, 2)) == int("01" * 20, 2)
    assert layout.chunks_of(reversed(range(40))) == layout.everything


@pytest.mark.parametrize("chunk", [-1, 3, 2**60])
def test_there_is_nothing_beyond_the_share(chunk: int) -> None:
    with pytest.raises(IndexError):
        layout_of([1, 0, 2, 3]).place(chunk)


def test_files_and_folders() -> None:
    layout = Layout(manifest_of([file("a", size=1), file("b"), folder("c")]))
    assert [layout.is_file(entry) for entry in range(3)] == [True, True, False]
