"""Links of a manifest: whatever somebody writes there, none leads out of the share, and nothing lies below one."""

import posixpath

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.core.shares import links as share_links
from p2p.core.shares import manifest as manifests
from p2p.core.shares.links import LINK, LinkEntry, Links, target_of, usable
from p2p.core.shares.manifest import Entry, EntryKind, Manifest, ShareLimits
from p2p.core.shares.names import Path
from p2p.errors import BadData

NAMES = st.sampled_from(["a", "b", "c", "lib"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map(tuple)
TARGETS = st.lists(st.one_of(NAMES, st.just("..")), min_size=1, max_size=5).map(tuple)
HOSTILE = st.lists(st.one_of(NAMES, st.sampled_from(["..", ".", "", "/etc", "a/b", "x\0", "\u202e"])), max_size=4).map(
    tuple
)


def file(path: str) -> Entry:
    return Entry(EntryKind.FILE, tuple(path.split("/")))


def link(path: str, target: str) -> LinkEntry:
    return LinkEntry(LINK, tuple(path.split("/")), tuple(target.split("/")))


def read(entries: list[Entry], links: list[LinkEntry]) -> Manifest:
    """Encodes without a look at the links, and decodes with one."""
    body, parts = manifests.encode("share", entries, single=False, links=links)
    share = manifests.share_id_of(body)
    return manifests.decode(share, manifests.decode_root(share, body, ShareLimits()), parts)


def followed(entries: set[Path], links: dict[Path, Path], path: Path) -> str:
    """Where a path leads by the rules of a file system, followed step by step; raises if it leads nowhere."""
    folders = {one[:depth] for one in (*entries, *links) for depth in range(len(one))}
    here: Path = ()
    rest, steps = list(path), 0
    while rest:
        part = rest.pop(0)
        assert here in folders
        if part == "..":
            assert here, "it leads out"
            here = here[:-1]
            continue
        here = (*here, part)
        if here in links:
            steps += 1
            assert steps <= share_links.MAX_FOLLOWED
            rest, here = [*links[here], *rest], here[:-1]
    assert here in entries or here in folders
    return "/".join(here)


@given(st.lists(PATHS, max_size=6), st.dictionaries(PATHS, TARGETS, max_size=6))
def test_what_is_accepted_leads_into_the_share_as_on_a_disk(files: list[Path], linked: dict[Path, Path]) -> None:
    files = [path for path in set(files) if not any(path[:depth] in files for depth in range(1, len(path)))]
    entries = [Entry(EntryKind.FILE, path) for path in sorted(files)]
    kept, left = usable(entries, [LinkEntry(LINK, *one) for one in linked.items()])
    assert len(kept) + len(left) == len(linked)
    manifest = read(entries, kept)
    assert list(manifest.links) == kept
    resolving = Links(manifest.entries, manifest.links)
    shown = {one.path: one.target for one in kept}
    for one in kept:
        leads_to = resolving.resolve(one)
        assert leads_to is not None
        assert followed(set(files), shown, one.path) == "/".join(leads_to)
        assert one.path[: len(leads_to)] != leads_to
    for path in [*files, *shown]:
        assert not any(path[:depth] in shown for depth in range(1, len(path)))
    if left:
        with pytest.raises(BadData):
            read(entries, [*kept, *left])


@given(st.lists(st.tuples(HOSTILE, HOSTILE), min_size=1, max_size=5))
def test_hostile_links_are_refused_or_lead_into_the_share(raw: list[tuple[Path, Path]]) -> None:
    links = [LinkEntry(LINK, *one) for one in raw]
    try:
        manifest = read([file("a/b"), file("lib/c")], links)
    except BadData:
        return
    for one in manifest.links:
        ends = posixpath.normpath("/".join((*one.path[:-1], *one.target)))
        assert not ends.startswith(("..", "/"))


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("x", "gone"),
        ("x", "../a"),
        ("x", "a/../../x"),
        ("a/x", "../.."),
        ("a/x", "."),
        ("a/x", ".."),
        ("x", "x"),
        ("x", "a/b/.."),
        ("x", "a/b/c"),
        ("a", "lib"),
        ("a/b", "lib"),
        ("a/b/x", "lib"),
        ("x", "/etc/passwd"),
        ("..", "a"),
        ("x/../y", "a"),
    ],
)
def test_links_that_are_refused(path: str, target: str) -> None:
    with pytest.raises(BadData):
        read([file("a/b"), file("lib/c")], [link(path, target)])


def test_chains_and_circles() -> None:
    entries = [file("a/b")]
    chain = [link("l00", "a/b"), *(link(f"l{n:02}", f"l{n - 1:02}") for n in range(1, 60))]
    assert read(entries, chain[:40]).links
    with pytest.raises(BadData, match="does not lead"):
        read(entries, chain[:41])
    with pytest.raises(BadData, match="does not lead"):
        read(entries, [link("x", "y"), link("y", "x")])
    with pytest.raises(BadData, match="below a link"):
        read([file("a/b"), file("a/c")], [link("x", "a"), link("x/y", "../a")])
    growing = [link("x0", "a"), *(link(f"x{n}", f"x{n - 1}/../x{n - 1}/../x{n - 1}") for n in range(1, 30))]
    with pytest.raises(BadData, match="does not lead"):
        read(entries, growing)


def test_the_rules_of_order_and_number() -> None:
    entries, two = [file("a/b")], [link("x", "a"), link("y", "a")]
    assert [one.path for one in read(entries, two[::-1]).links] == [("x",), ("y",)]
    with pytest.raises(BadData, match="not in order"):
        read(entries, [two[0], two[0]])
    many = [link("/".join(["d"] * 100 + [str(n)]), "/".join([*[".."] * 100, "a"])) for n in range(1000)]
    with pytest.raises(BadData, match="names"):
        read(entries, many)


def test_manifests_without_links_are_as_before() -> None:
    body, _ = manifests.encode("share", [file("a/b")], single=False)
    assert set(msgspec.msgpack.decode(body)) == {
        "version", "name", "single", "files", "folders", "size", "chunks", "length", "parts",
    }  # fmt: skip
    assert not manifests.has_links(body)
    assert manifests.has_links(manifests.encode("s", [file("a")], single=False, links=[link("x", "a")])[0])


@pytest.mark.parametrize(
    ("text", "target"),
    [("./a//b/", ("a", "b")), ("../a", ("..", "a")), ("/a", None), ("", None), (".", None), ("a\nb", None)],
)
def test_texts_of_links(text: str, target: Path | None) -> None:
    assert target_of(text) == target
