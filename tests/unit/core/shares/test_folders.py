"""Folders of a manifest, against a plain tree."""

from hypothesis import given
from hypothesis import strategies as st

from p2p.core.shares.folders import children, file_at, is_folder
from p2p.core.shares.manifest import Entry, EntryKind

NAMES = st.text(st.sampled_from("ab.!\U0010ffff"), min_size=1, max_size=2)
PATHS = st.lists(NAMES, min_size=1, max_size=3).map(tuple)
FILES = st.dictionaries(PATHS, st.sampled_from(EntryKind), max_size=12)


def entries_of(chosen: dict[tuple[str, ...], EntryKind]) -> list[Entry]:
    """Entries as a manifest has them: in order, and none below another."""
    kept: list[Entry] = []
    for path in sorted(chosen):
        if not kept or path[: len(kept[-1].path)] != kept[-1].path:
            kept.append(Entry(chosen[path], path))
    return kept


@given(FILES, PATHS)
def test_folders_are_those_of_a_tree(chosen: dict[tuple[str, ...], EntryKind], other: tuple[str, ...]) -> None:
    entries = entries_of(chosen)
    files = {entry.path: entry for entry in entries if entry.is_file}
    folders = {entry.path[:depth] for entry in entries for depth in range(len(entry.path))} | {()}
    folders |= {entry.path for entry in entries if not entry.is_file}
    for path in {*files, *folders, other}:
        assert file_at(entries, path) == files.get(path)
        assert is_folder(entries, path) == (path in folders)
    for folder in folders:
        depth = len(folder)
        below = {path[depth] for path in {*files, *folders} if path[:depth] == folder and len(path) > depth}
        found = list(children(entries, folder))
        assert [child.name for child in found] == sorted(below)
        assert all(child.file == files.get((*folder, child.name)) for child in found)
        for at, child in enumerate(found):
            assert list(children(entries, folder, child.name)) == found[at + 1 :]
