"""Names of files as parts of fsspec's paths: each has one, it comes back, and none is a pattern."""

from hypothesis import given
from hypothesis import strategies as st

from p2p.client.filesystem.addresses import SCHEME, as_path, decoded, encoded, exact, split

SHARE = "a" * 52
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1).filter(
    lambda t: t not in {".", ".."}
)


@given(NAMES, NAMES)
def test_names_come_back_and_are_no_patterns(folder: str, name: str) -> None:
    path = f"{SHARE}/{encoded(folder)}/{encoded(name)}"
    assert not set("*?[]{}#") & set(path)
    assert "::" not in path
    assert path.isprintable()
    assert as_path(path) == exact(path) == path
    assert decoded(encoded(name)) == name
    assert split(path) == (SHARE, [folder, name])


@given(st.text())
def test_a_path_is_its_own_path(text: str) -> None:
    path = as_path(text)
    assert as_path(path) == path
    assert as_path(exact(path)) == exact(path)


def test_however_a_name_is_written_its_path_is_the_same() -> None:
    for written in ("été 1.csv", "%C3%A9t%C3%A9%201.csv", "%c3%a9t%c3%a9 1.csv/"):
        assert as_path(f"{SCHEME}{SHARE}/{written}") == f"{SHARE}/été 1.csv"
    assert as_path(f"{SCHEME}{SHARE}/x#y?.csv") == f"{SHARE}/x%23y?.csv"
    assert exact(f"{SHARE}/x%23y?.csv") == f"{SHARE}/x%23y%3F.csv"
    assert as_path("100% sure") == "100%25 sure"
    assert as_path("a%2Fb%ff") == "a%2Fb%ff"  # no share has either
    assert split(as_path(SHARE)) == (SHARE, [])
