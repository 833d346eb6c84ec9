"""A volunteer at work, as its job's owner hears it: what becomes of the conversation when the line breaks."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from p2p.compute.execution.reassembly import SpooledReassembly
from p2p.compute.owner.volunteer_session import Said, VolunteerSession
from p2p.core.compute.attempts import Work
from p2p.errors import PeerGone, ProtocolViolation
from p2p.identity import Identity
from p2p.store.disk import Disk
from p2p.wire import work
from tests.support.pipes import pipes, proven


async def never(units: Sequence[Work], sent: int, lost: Callable[[Work], None], *, keep: bool) -> list[Any]:
    """Messages that cannot be made yet: what their units read is still being brought."""
    await trio.sleep_forever()
    return []


async def nothing(said: Said, spool: SpooledReassembly) -> None:
    """It heard it."""


async def test_a_line_that_breaks_while_units_are_prepared_ends_the_conversation(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    ours, theirs = pipes()
    line = proven(ours, Identity.generate(), Identity.generate(), dialed=True)
    member = VolunteerSession(
        line, work.JobAccepted(1, 16), never, lambda _: None, SpooledReassembly(Disk(), tmp_path / "spool", 1000)
    )
    member.units([Work(b"u" * 32, 0, 0)])
    theirs._stream.receive_stream.close()  # it hears nothing any more, and does not say so
    with pytest.raises(PeerGone):
        await member.run(nothing)


async def test_what_is_not_utf8_is_heard_once(tmp_path: Path, autojump_clock: MockClock) -> None:
    ours, theirs = pipes()
    line = proven(ours, Identity.generate(), Identity.generate(), dialed=True)
    spool = SpooledReassembly(Disk(), tmp_path / "spool", 1000)
    member = VolunteerSession(line, work.JobAccepted(1, 16), never, lambda _: None, spool)
    heard: list[Said] = []

    async def hear(said: Said, spool: SpooledReassembly) -> None:
        if isinstance(said, work.Replaced):
            heard.append(said)

    told = work.Replaced(b"u" * 32, 3, 0)
    other = proven(theirs, Identity.generate(), Identity.generate(), dialed=False)
    async with trio.open_nursery() as nursery:

        async def say() -> None:
            await other.send(told)
            await other.send(told)
            await trio.sleep_forever()

        nursery.start_soon(say)
        with pytest.raises(ProtocolViolation, match="told once"):
            await member.run(hear)
        nursery.cancel_scope.cancel()
    assert heard == [told]
