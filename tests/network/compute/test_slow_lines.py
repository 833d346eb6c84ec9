"""A volunteer behind a slow line: a message takes longer than the silence for which anybody is given up."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from p2p.compute.execution import output_reader
from p2p.compute.execution.output_reader import OutputLocation, OutputReader
from p2p.compute.execution.unit import output_digest, result_digest
from p2p.compute.owner import recruiter
from p2p.compute.owner.outputs import Outputs
from p2p.compute.volunteer import job_session
from p2p.errors import PeerGone
from p2p.net.connection import Connection
from p2p.progress import JobView, Progress
from p2p.wire import work
from p2p.wire.address import Address
from p2p.wire.frames import MAX_DATA_BYTES, data_header
from p2p.wire.link import PeerHint
from tests.support.constants import Shorten
from tests.support.world import World, hint_of, start_rogue
from tests.support.world_jobs import run_job, volunteer, write_job

STEP_BYTES, STEP_S = 16 * 1024, 0.25
BOTH_WAYS = """\
def job(inputs):
    large = inputs.range(1).map(lambda i: "x" * 700_000).collect()
    return inputs.range(2).map(lambda i: i + len(large[0])).sum()
"""


class SlowLine:
    """Passes on what comes, both ways; each step takes its time, by the clock that everybody here goes by."""

    def __init__(self, to: Address, clock: MockClock) -> None:
        self._to = to
        self._clock = clock
        self.address: Address

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        async with trio.open_nursery() as nursery:
            listeners: list[trio.SocketListener] = await nursery.start(trio.serve_tcp, self._carry, 0)
            self.address = Address("127.0.0.1", listeners[0].socket.getsockname()[1])
            task_status.started()

    async def _carry(self, near: trio.SocketStream) -> None:
        far = await trio.open_tcp_stream(self._to.host, self._to.port)
        async with near, far, trio.open_nursery() as nursery:
            nursery.start_soon(self._pass_on, near, far, nursery.cancel_scope)
            nursery.start_soon(self._pass_on, far, near, nursery.cancel_scope)

    async def _pass_on(self, one: trio.SocketStream, other: trio.SocketStream, scope: trio.CancelScope) -> None:
        try:
            while some := await one.receive_some(STEP_BYTES):
                await other.send_all(some)
                self._clock.jump(STEP_S * len(some) / STEP_BYTES)
        except trio.BrokenResourceError:
            pass
        scope.cancel()


async def test_a_slow_peer_is_not_a_silent_one(world: World, mock_clock: MockClock, shorten: Shorten) -> None:
    mock_clock.rate = 1.0
    # The lease is 4 seconds; a piece of half a MiB takes 8.
    shorten(job_session, "SILENCE_TIMEOUT_S", 4.0)
    owner, local = await world.peer("owner"), await volunteer(world)
    progress = Progress()
    async with trio.open_nursery() as nursery:
        line = SlowLine(hint_of(local).address, mock_clock)
        await nursery.start(partial(line.run))
        began = trio.current_time()
        hints = [PeerHint(line.address, local.peer_id)]
        answer = await run_job(owner, write_job(world, BOTH_WAYS), hints, progress=progress, partitions=2)
        assert trio.current_time() - began > 1_400_000 / STEP_BYTES * STEP_S
        nursery.cancel_scope.cancel()
    assert answer.result == 1 + 2 * 700_000
    assert isinstance(progress.view, JobView)
    assert progress.view.losses == progress.view.failures == 0


async def test_who_waits_for_the_owners_slow_disk_is_not_silent(
    world: World, mock_clock: MockClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    mock_clock.rate = 1.0
    caplog.set_level("DEBUG", recruiter.__name__)
    owner, local = await world.peer("owner"), await volunteer(world)

    def slow(real: Callable[..., Awaitable[Any]], steps: int, step_s: float) -> Callable[..., Awaitable[Any]]:
        async def slowly(*given: Any) -> Any:
            for _ in range(steps):
                mock_clock.jump(step_s)
                await trio.sleep(0.01)
            return await real(*given)

        return slowly

    monkeypatch.setattr(Outputs, "verified", slow(Outputs.verified, 12, 1.0))
    monkeypatch.setattr(Outputs, "room", slow(Outputs.room, 1, 0.5))
    answer = await run_job(owner, write_job(world, BOTH_WAYS), [hint_of(local)], partitions=2)
    assert answer.result == 1 + 2 * 700_000
    assert "silent" not in caplog.text


async def test_an_output_that_is_kept_behind_a_slow_line_is_read(
    world: World, mock_clock: MockClock, shorten: Shorten
) -> None:
    mock_clock.rate = 1.0
    shorten(output_reader, "READ_TIMEOUT_S", 4.0)
    local, owner = await volunteer(world), await world.peer("owner")
    job, token, unit, outputs = b"j" * 32, b"t" * 16, b"u" * 32, [b"x" * 700_000]
    assert local.volunteering is not None
    store = local.volunteering.kept_for(job, owner.peer_id, token)
    assert await store.keep(unit, 0, outputs)
    await local.volunteering.linger(job, owner.peer_id, "127.0.0.1", store)
    reader = OutputReader(owner.dialer, job, token)

    async def silent(connection: Connection) -> None:
        await connection.receive()
        while True:
            mock_clock.jump(1.0)
            await trio.sleep(0.01)

    async def dribbling(connection: Connection) -> None:
        await connection.receive()
        await connection.send(work.OutputIs((output_digest(outputs[0]),), len(outputs[0])))
        await connection._stream.send_all(data_header(0, 0, MAX_DATA_BYTES))
        while True:
            await connection._stream.send_all(b"x")
            mock_clock.jump(1.0)
            await trio.sleep(0.01)

    async with trio.open_nursery() as nursery:
        line = SlowLine(hint_of(local).address, mock_clock)
        await nursery.start(partial(line.run))
        place = OutputLocation(unit, result_digest(outputs), 0, local.peer_id, line.address)
        assert await reader.get(place, len(outputs[0])) == outputs[0]
        assert reader.bytes_read == len(outputs[0])
        for badly in (silent, dribbling):
            rogue = await start_rogue(nursery, owner, badly)
            kept = OutputLocation(unit, place.digest, 0, rogue.dialer.identity.peer_id, rogue.hint.address)
            with pytest.raises(PeerGone, match="nothing came of it for 4 seconds"):
                await reader.get(kept, len(outputs[0]))
        reader.close()
        nursery.cancel_scope.cancel()
