"""The names of a share on a disk that cannot hold all of them: one each, none lost, and always the same."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.core.shares import names
from p2p.core.shares.local_names import DiskRule, Told, beside, renamed, renames, running, steps

WINDOWS = DiskRule(refused='?:*"<>|', refused_ends=". ", refused_stems=("aux", "nul"), folds_case=True)
OLD = DiskRule(max_bytes=12, refused="?:é", refused_ends=".", ascii_only=True, folds_case=True, folds_forms=True)
FORMS = DiskRule(refused=":", folds_forms=True)
PLAIN = DiskRule()
RULES = [WINDOWS, OLD, FORMS, PLAIN, DiskRule(max_bytes=143)]

name = st.one_of(
    st.text("aA?:_. ~", min_size=1, max_size=5),
    st.sampled_from(["aux", "AUX.txt", "nul", "é", "e\u0301", "É", "ß", "ss", "a\u200f", "a_b", "a?b", "a:b", "..a"]),
    st.text("ab\U0001f41f.", min_size=60, max_size=63),
).filter(lambda text: names.refusal(text) is None)
path = st.lists(name, min_size=1, max_size=3).map(tuple)


def without_files_that_are_folders(found: set[names.Path]) -> list[names.Path]:
    return sorted(one for one in found if not any(other != one and other[: len(one)] == one for other in found))


paths = st.sets(path, min_size=1, max_size=12).map(without_files_that_are_folders)


@given(paths, st.sampled_from(RULES))
def test_every_file_has_a_name_of_its_own_that_the_disk_holds(found: list[names.Path], rule: DiskRule) -> None:
    changes = renames(found, rule)
    local = [renamed(one, changes) for one in found]
    heads = {one[:depth]: renamed(one, changes)[:depth] for one in found for depth in range(1, len(one) + 1)}
    keys = {tuple(map(rule.key, one)) for one in heads.values()}
    assert len(keys) == len(heads)
    for one in local:
        assert all(map(rule.holds, one))
        assert all(names.refusal(part) is None for part in one)


@given(paths, st.sampled_from(RULES))
def test_a_name_becomes_hidden_only_if_it_was(found: list[names.Path], rule: DiskRule) -> None:
    for shared, new in renames(found, rule).items():
        assert new.startswith(".") <= shared[-1].startswith(".")


@given(paths, st.sampled_from(RULES))
def test_names_that_were_made_are_left_alone(found: list[names.Path], rule: DiskRule) -> None:
    changes = renames(found, rule)
    again = sorted(renamed(one, changes) for one in found)
    assert renames(again, rule) == {}


@given(paths, st.sampled_from(RULES))
def test_only_names_that_cannot_stay_are_changed(found: list[names.Path], rule: DiskRule) -> None:
    changes = renames(found, rule)
    for shared, new in changes.items():
        siblings = {one[: len(shared)] for one in found if one[: len(shared) - 1] == shared[:-1]}
        clash = any(rule.key(one[-1]) == rule.key(shared[-1]) for one in siblings if one != shared)
        assert new != shared[-1]
        assert clash or not rule.holds(shared[-1])


odd = st.one_of(name, st.sampled_from([one.name.replace("*", "x") for one in names.RUNNING]), st.just("refs"))
below = st.sets(st.lists(odd, min_size=1, max_size=3).map(tuple), min_size=1, max_size=12)
told_names = st.one_of(name, st.sampled_from([".git", ".ssh", "x.desktop", "a" * 300])).map(names.top_name)


@given(odd, below.map(without_files_that_are_folders), st.sampled_from(RULES), told_names, st.sampled_from([b"", b"m"]))
def test_what_a_fetch_writes_is_what_was_told_and_runs_nothing(
    root: str, found: list[names.Path], rule: DiskRule, top: str, follows: bytes
) -> None:
    paths = [(root, *one) for one in found]
    told = Told(top, follows=follows)
    changes = renames(paths, rule, told)
    local = [renamed(one, changes) for one in paths]
    heads = {one[:depth]: renamed(one, changes)[:depth] for one in paths for depth in range(1, len(one) + 1)}
    assert len({tuple(map(rule.key, one)) for one in heads.values()}) == len(heads)
    assert all(rule.holds(part) for one in local for part in one)
    assert running(local, told) == []
    assert not local[0][0].startswith(".")
    if rule.holds(top) and names.running(top) is None:
        assert local[0][0] == top
    inside = {shared for shared in changes if len(shared) > 1}
    assert all(names.running(shared[-1]) for shared in inside - renames(paths, rule).keys())
    assert renames(sorted(local), rule, Told(local[0][0], follows=follows)) == {}


def test_names_that_run_stay_where_the_author_is_trusted() -> None:
    paths = [("top", ".envrc"), ("top", "deep", ".git", "config"), ("top", "x.desktop")]
    assert renames(paths, PLAIN, Told("top", trusted=True)) == {}
    assert renames(paths, PLAIN, Told("top")) == {
        ("top", ".envrc"): "_envrc",
        ("top", "deep", ".git"): "_git",
        ("top", "x.desktop"): "x.desktop_",
    }
    assert running(paths, Told("top")) == [("top", ".envrc"), ("top", "x.desktop"), ("top", "deep", ".git")]


def test_a_repository_cannot_come_in_two_versions_or_into_one_half_that_is_there() -> None:
    paths = [("top", "HEAD"), ("top", "config")]
    assert renames(paths, PLAIN, Told("top")) == {}
    for told in (Told("top", follows=b"m"), Told("top", into_existing=True)):
        assert renames(paths, PLAIN, told) == {("top", "HEAD"): "HEAD_"}


def test_a_repository_cannot_come_in_several_shares() -> None:
    """`HEAD`, `config`, `objects` and `refs` in one folder were one, and git ran what `config` named."""
    assert renames([("HEAD",)], PLAIN, Told("HEAD")) == {("HEAD",): "HEAD_"}
    assert renames([("head", "x")], PLAIN, Told("head")) == {("head",): "head_"}
    assert renames([("some", "x")], PLAIN, Told("HEAD")) == {("some",): "HEAD_"}


def test_a_name_that_runs_takes_no_other_files_name() -> None:
    changes = renames([("top", ".git"), ("top", "_git")], PLAIN, Told("top"))
    assert list(changes) == [("top", ".git")]
    assert changes["top", ".git"].startswith("_git~")


@pytest.mark.parametrize(
    ("rule", "before", "after"),
    [
        (WINDOWS, "What?.txt", "What_.txt"),
        (WINDOWS, "12:30 *.log", "12_30 _.log"),
        (WINDOWS, "etc...", "etc___"),
        (WINDOWS, "aux.h", "_aux.h"),
        (WINDOWS, "auxiliary", "auxiliary"),
        (OLD, "été", "_t_"),
    ],
)
def test_new_names_look_like_the_old_ones(rule: DiskRule, before: str, after: str) -> None:
    assert renamed((before,), renames([(before,)], rule)) == (after,)


def test_the_name_that_stays_is_never_given_away() -> None:
    changes = renames([("a:b",), ("a?b",), ("a_b",)], WINDOWS)
    assert ("a_b",) not in changes
    assert len({"a_b", *changes.values()}) == 3
    assert all(new.startswith("a_b~") for new in changes.values())


def test_long_names_keep_their_beginning_and_suffix() -> None:
    long = "é" * 120 + ".tar.gz"
    (new,) = renames([(long,)], DiskRule(max_bytes=143)).values()
    assert new.startswith("é" * 60)
    assert new.endswith(".gz")
    assert len(new.encode()) <= 143


def test_a_share_of_plain_names_is_left_alone() -> None:
    found = [("a", "b"), ("a", "c?"), ("d",)]
    assert renames(found, PLAIN) == {}
    assert renames(found[:1], WINDOWS) == {}


@pytest.mark.parametrize(
    ("one", "other"),
    [("README", "readme"), ("\u00e9", "e\u0301"), ("a", "a\u200b"), ("a", "\ufeffa"), ("STRASSE", "stra\u00dfe")],
)
def test_names_that_a_disk_takes_for_one_are_valid_and_stay_two_files(one: str, other: str) -> None:
    found = [(one,), (other,)]
    assert all(names.path_refusal(path) is None for path in found)
    assert renames(found, PLAIN) == {}
    changes = renames(found, DiskRule(folds_case=True, folds_forms=True))
    assert list(changes) == [(other,)]
    assert "~" in changes[other,]


@pytest.mark.parametrize("name", ["CON", "a\u2215b", "\ufeff.txt", "a\u200db"])
def test_names_that_deceive_are_valid_and_stay_where_the_disk_holds_them(name: str) -> None:
    assert names.refusal(name) is None
    assert renames([(name,)], PLAIN) == {}


def test_two_folders_that_differ_in_case_stay_two() -> None:
    found = [("Docs", "a"), ("docs", "a")]
    changes = renames(found, WINDOWS)
    assert list(changes) == [("docs",)]
    assert renamed(found[1], changes)[0].startswith("docs~")


@given(name, st.integers(0, 99))
def test_a_file_beside_another_has_a_name_that_differs(one: str, number: int) -> None:
    new = beside(one, number)
    assert names.refusal(new) is None
    assert unicodedata.normalize("NFC", new).casefold() != unicodedata.normalize("NFC", one).casefold()


def test_a_folder_is_named_once_while_its_files_follow_each_other() -> None:
    paths = [("a", "b", "c"), ("a", "b", "d"), ("a", "d"), ("b", "b", "c"), ("b", "b", "c", "d"), ("b",), ("b", "x")]
    assert [path[depth] for path, depth in steps(paths)] == ["a", "b", "c", "d", "d", "b", "b", "c", "d", "x"]
