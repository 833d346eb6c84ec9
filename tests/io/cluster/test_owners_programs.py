"""The programs of a cluster, as its owner hears of them."""

from pathlib import Path

import pytest

from p2p.cluster.engines.engine import Program
from p2p.cluster.owner.cluster import _write_keys
from p2p.cluster.owner.programs import Programs
from p2p.cluster.owner.seats import OwnSeat
from p2p.core.ledger import Room
from p2p.errors import NotFound, StorageError
from p2p.ids import PeerId
from p2p.wire.cluster import ProcessOutput

WORKER = Program("worker", ("worker",), "Registered")


async def test_the_words_of_a_program_that_is_gone_do_not_make_the_next_one_ready() -> None:
    programs, seat = Programs(), OwnSeat(PeerId(bytes(32)), Room(1, 1, 1), ())
    first = await programs.start(seat, WORKER)
    await programs.heard(0, ProcessOutput(first.number, b"Registered to the scheduler"))
    await programs.started(first)
    programs.lost(0)
    second = await programs.start(seat, WORKER)
    programs.lost(0)
    with pytest.raises(NotFound, match="its member is gone"):
        await programs.started(second)
    assert [log.end() for log in programs.logs(0)] == [""]


async def test_what_a_member_printed_does_nothing_to_a_terminal() -> None:
    programs, seat = Programs(), OwnSeat(PeerId(bytes(32)), Room(1, 1, 1), ())
    one = await programs.start(seat, WORKER)
    await programs.heard(0, ProcessOutput(one.number, "one\r\n\x1b]52;c;ZXZpbA==\x07two\x9b2J\u202ethree".encode()))
    assert one.log.end() == "one\n\\x1b]52;c;ZXZpbA==\\x07two\\x9b2J\\u202ethree"
    assert one.log.end(1).startswith("\\x1b")


def test_keys_that_cannot_be_written_are_told_of(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="Cannot write the cluster's keys"):
        _write_keys(tmp_path / "gone" / "keys", {"key.pem": b"secret"})
