"""How long a program or command tries again for the peer of its home."""

import pytest

from p2p.control.handover import POLL_S, TIMEOUT_S, Handover
from p2p.errors import HomeInUse


def test_it_tries_again_until_that_has_lasted_too_long() -> None:
    handover, error = Handover(100.0), HomeInUse("another")
    assert handover.wait_s(error, 100.0) == handover.wait_s(error, 100.0 + TIMEOUT_S) == POLL_S
    with pytest.raises(HomeInUse, match="another"):
        handover.wait_s(error, 100.1 + TIMEOUT_S)
