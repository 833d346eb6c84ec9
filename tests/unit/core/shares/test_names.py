"""Names that a manifest may never carry, those that some platform cannot hold, and those that clash."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.core.shares import names
from tests.support.manifests import REFUSED_NAMES

FINE = ["a", "...", ".hidden", "a b", "-rf", "~", "$HOME", "café", "文件", "\U0001f41f", "x" * 255, "é" * 127, "a‌b"]


@pytest.mark.parametrize("name", REFUSED_NAMES)
def test_refused(name: str) -> None:
    assert names.refusal(name)
    assert names.path_refusal((name,))
    assert names.path_refusal(("a", name, "b"))


@pytest.mark.parametrize("name", FINE)
def test_fine(name: str) -> None:
    assert names.refusal(name) is None
    assert names.path_refusal(("a", name)) is None


@given(st.text(st.characters(), max_size=300))
def test_a_name_that_passes_is_one_harmless_part(name: str) -> None:
    if names.refusal(name) is None:
        assert len(name.encode()) <= 255
        assert name not in {"", ".", ".."}
        assert not set(name) & {"/", "\\", "\0", "\n", "\x1b"}
        assert len(name.splitlines()) == 1


def test_paths_are_bounded() -> None:
    assert names.path_refusal(())
    assert names.path_refusal(("a",) * 256) is None
    assert names.path_refusal(("a",) * 257)
    assert names.path_refusal(("x" * 255,) * 16) is None
    assert names.path_refusal(("x" * 255,) * 17)


def test_paths_are_bounded_in_bytes() -> None:
    assert names.path_refusal(("é" * 127,) * 16) is None
    assert names.path_refusal(("é" * 127,) * 17)
    assert names.path_refusal(("文" * 85,) * 17)


@pytest.mark.parametrize(
    "name",
    [
        *("CON", "prn", "Aux.txt", "nul.tar.gz", "COM1", "lpt9.log", "com¹", "CONIN$"),
        *("a:b", "a<b", "a>b", 'a"b', "a|b", "a?b", "a*b"),
        *("dot.", "space ", "..."),
        "e\u0301",
        "\u212b",
    ],
)
def test_doubtful(name: str) -> None:
    assert names.refusal(name) is None
    assert names.doubt(name)


@pytest.mark.parametrize(
    "name", ["a", "console", "com", "com10", "acon", "a.con", "nul_", "café", "文件", ".a", " a", "a.b"]
)
def test_not_doubtful(name: str) -> None:
    assert names.doubt(name) is None


@pytest.mark.parametrize(
    ("paths", "clashes"),
    [
        ([("a",), ("b",)], []),
        ([("A",), ("a",)], [(("A",), ("a",))]),
        ([("straße",), ("STRASSE",)], [(("straße",), ("STRASSE",))]),
        ([("é",), ("e\u0301",)], [(("é",), ("e\u0301",))]),
        ([("D", "x"), ("d", "y")], [(("D",), ("d",))]),
        ([("a", "b"), ("a", "c")], []),
        ([("A",), ("a", "b")], [(("A",), ("a",))]),
    ],
)
def test_case_clashes(paths: list[names.Path], clashes: list[tuple[names.Path, names.Path]]) -> None:
    assert names.case_clashes(paths) == clashes


paths = st.lists(
    st.lists(st.text("aAbBéÉ", min_size=1, max_size=2), min_size=1, max_size=3).map(tuple), unique=True, max_size=8
)


@given(paths)
def test_no_clash_means_that_folding_keeps_paths_apart(found: list[names.Path]) -> None:
    heads = {path[:depth] for path in found for depth in range(1, len(path) + 1)}
    folded = {tuple(part.casefold() for part in head) for head in heads}
    assert bool(names.case_clashes(found)) == (len(folded) < len(heads))


def test_the_table_of_running_names_has_each_once_with_a_reason() -> None:
    listed = [one.name for one in names.RUNNING]
    assert len(set(listed)) == len(listed)
    for one in names.RUNNING:
        assert one.why
        name = one.name.replace("*", "x")
        assert names.running(name) is one
        assert names.runs(name, one.beside)
        assert names.runs(name, ()) is (not one.beside)
        assert names.refusal(name) is None


@pytest.mark.parametrize(
    "name",
    [
        *(".git", ".GIT", ".g\u200cit", ".git.", ".git ", ".git::$INDEX_ALLOCATION", "\u200b.git", "git~1", ".Envrc"),
        *("AutoRun.inf", "a b.DESKTOP", ".desktop", "desktop.ini", "x.lnk"),
    ],
)
def test_names_that_some_disk_takes_for_one_in_the_table_run(name: str) -> None:
    assert names.runs(name, ())
    assert not names.runs(names.harmless(name), ())


@pytest.mark.parametrize(
    "name",
    [".gitignore", ".github", "git", "a.git", "desktop", "ini", "HEAD", "env", ".environment", "url", "x.desktop~"],
)
def test_other_names_do_not_run(name: str) -> None:
    assert not names.runs(name, ("objects",))


def test_the_head_of_a_repository_runs_only_beside_what_makes_it_one() -> None:
    assert names.runs("HEAD", ("HEAD", "objects", "refs"))
    assert names.runs("HEAD", ("HEAD", "commondir"))


@given(st.one_of(st.sampled_from([one.name.replace("*", "x") for one in names.RUNNING]), st.text(max_size=20)))
def test_a_harmless_name_is_one(name: str) -> None:
    assert names.running(names.harmless(name)) is None


@pytest.mark.parametrize(
    ("told", "top"),
    [
        ("holiday", "holiday"),
        (".ssh", "_ssh"),
        ("..", "_."),
        ("\u200b.ssh", "_ssh"),
        ("../.ssh", "_._.ssh"),
        ("a/b\\c", "a_b_c"),
        ("a\u202egpj.exe", "a_gpj.exe"),
        ("", "_"),
        ("\u200b", "_"),
        (" .ssh", " .ssh"),
        ("a.b", "a.b"),
    ],
)
def test_the_name_at_the_top(told: str, top: str) -> None:
    assert names.top_name(told) == top


@given(st.text(st.characters(), max_size=100))
def test_the_name_at_the_top_is_one_plain_part_without_a_dot(told: str) -> None:
    top = names.top_name(told)
    assert not top.startswith(".")
    assert names.refusal(top) in {None, f"is longer than {names.MAX_PART_BYTES} bytes"}
    assert names.top_name(top) == top
