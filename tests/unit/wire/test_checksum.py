"""The checksum in links."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.wire.checksum import CHARS, with_checksum, without_checksum

OURS, BECH32 = "abcdefghijklmnopqrstuvwxyz234567", "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
digits = st.text(OURS, min_size=52, max_size=52)


@pytest.mark.parametrize(
    "text",
    [
        "a1lqfn3a",
        "an83characterlonghumanreadablepartthatcontainsthetheexcludedcharactersbioandnumber11sg7hg6",
        "abcdef1l7aum6echk45nj3s0wdvt2fg8x9yrzpqzd3ryx",
        "split1checkupstagehandshakeupstreamerranterredcaperredlc445v",
        "?1v759aa",
    ],
)
def test_it_is_that_of_bech32m(text: str) -> None:
    """The valid strings of BIP 350, in its alphabet."""
    purpose, _, said = text.rpartition("1")
    ours = said.translate(str.maketrans(BECH32, OURS))
    assert with_checksum(purpose, ours[:-CHARS]) == ours
    assert without_checksum(purpose, ours) == ours[:-CHARS]


@given(digits, st.data())
def test_up_to_four_changes_are_always_noticed(text: str, data: st.DataObject) -> None:
    letters = list(with_checksum("shoal", text))
    for place in data.draw(st.sets(st.integers(0, len(letters) - 1), min_size=1, max_size=4)):
        letters[place] = data.draw(st.sampled_from([one for one in OURS if one != letters[place]]))
    with pytest.raises(ValueError, match="checksum"):
        without_checksum("shoal", "".join(letters))


@given(digits)
def test_the_purpose_is_summed_too(text: str) -> None:
    with pytest.raises(ValueError, match="checksum"):
        without_checksum("shoalm", with_checksum("shoal", text))
