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
