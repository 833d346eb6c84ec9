"""Patterns of --exclude and .shoalignore: what they leave out, and what is refused before it costs time."""

import time

import pytest

from p2p import ignore
from p2p.errors import ConfigError
from p2p.ignore import Ignore, check_patterns


@pytest.mark.parametrize(
    ("patterns", "out", "kept"),
    [
        (["*.tmp"], ["a.tmp", "deep/b.tmp"], ["a.tmp.txt"]),
        (["*.tmp", "!keep.tmp"], ["a.tmp"], ["keep.tmp", "deep/keep.tmp"]),
        (["/build/"], ["build/x", "build/deep/x"], ["sub/build/x", "builder"]),
        (["cache/", "!cache/keep"], ["cache/keep"], ["cached"]),
        ([r"a\[1\]"], ["a[1]"], ["a1"]),
        (["# no pattern", "", "  "], [], ["# no pattern", "a"]),
        (["Ж*"], ["Ж1"], ["ж1"]),
        (["caf\u00e9"], ["caf\u00e9", "cafe\u0301"], ["cafe"]),  # a keyboard's form, and that of a disk
        (["cafe\u0301/"], ["caf\u00e9/x", "cafe\u0301/x"], ["cafe/x"]),
    ],
)
def test_patterns_mean_what_they_mean_in_gitignore(patterns: list[str], out: list[str], kept: list[str]) -> None:
    decides = Ignore(patterns)
    assert [path for path in (*out, *kept) if decides.leaves_out(tuple(path.split("/")))] == out


def test_a_pattern_for_folders_spares_a_file_of_that_name() -> None:
    decides = Ignore(["build/"])
    assert decides.leaves_out(("build",), folder=True)
    assert not decides.leaves_out(("build",))


@pytest.mark.parametrize("pattern", ["!", "[a", "a\\", "*a" * (ignore.MAX_WILDCARDS + 1), "x" * 70_000])
def test_a_pattern_that_cannot_be_used_is_refused_with_where_it_stands(pattern: str) -> None:
    with pytest.raises(ConfigError, match=r"--exclude"):
        check_patterns([pattern])
    with pytest.raises(ConfigError, match=r"/f/\.shoalignore"):
        check_patterns([pattern], "/f/.shoalignore")


def test_there_are_not_too_many() -> None:
    check_patterns(["a"] * ignore.MAX_PATTERNS)
    with pytest.raises(ConfigError, match="1,001 patterns"):
        check_patterns(["a"] * (ignore.MAX_PATTERNS + 1))


def test_the_worst_pattern_allowed_takes_no_time_to_speak_of() -> None:
    before = time.process_time()
    assert not Ignore(["*a" * (ignore.MAX_WILDCARDS - 1) + "*b"]).leaves_out(("a" * 255,))
    assert time.process_time() - before < 5
