"""Guests and their slots: order, sizes, deaths of every process, cancellation; and a peer's end that lies."""

import gc
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import replace
from typing import NoReturn

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from p2p.errors import SandboxFailed
from p2p.sandbox import compiled, isolation, messages, runtimes
from p2p.sandbox.guest import Guest, Reply
from p2p.sandbox.limits import MAX_FRAME_BYTES, GuestEnded, GuestLimits
from p2p.sandbox.runtimes import Runtime
from p2p.sandbox.sandbox import Sandbox, describe, open_sandbox
from tests.support.guest_programs import CORES, EXECUTE, PLENTY, SEED, ModuleOf, children, run


async def test_answers_come_in_order_with_their_own_logs_and_seeds(sandbox: Sandbox, python: Runtime) -> None:
    guest = await sandbox.guest(python)
    count = 500
    code = "print(int(data)); import os; result = data + os.urandom(4)"
    requests = [(code.encode() + b"\0%d" % number, bytes([number % 7]) * 32) for number in range(count)]
    got: list[Reply] = []

    def answered(index: int, reply: Reply) -> None:
        assert index == len(got)
        got.append(reply)

    await guest.call_many(requests, PLENTY, answered)
    assert [int(reply[:-4]) for reply, _ in got] == list(range(count))
    assert [log for _, log in got] == [b"%d\n" % number for number in range(count)]
    assert len({reply[-4:] for reply, _ in got}) == 7


@pytest.mark.parametrize("size", [0, 1, 8190, 8192, 65_535, 65_536, 10_000_001])
async def test_frames_of_all_sizes_arrive_whole(sandbox: Sandbox, python: Runtime, size: int) -> None:
    guest = await sandbox.guest(python)
    data = os.urandom(size)
    assert await run(guest, "result = data", data) == data
    assert await run(guest, "result = len(data)", data) == b"%d" % size


async def test_large_frames_in_both_directions_at_once(sandbox: Sandbox, python: Runtime) -> None:
    guest = await sandbox.guest(python)
    frame = b"result = data\0" + bytes(300_000)
    sizes: list[int] = []
    await guest.call_many([(frame, SEED)] * 20, PLENTY, lambda _, reply: sizes.append(len(reply[0])))
    assert sizes == [300_000] * 20


async def test_an_answer_is_at_most_as_long_as_allowed(sandbox: Sandbox, python: Runtime) -> None:
    guest = await sandbox.guest(python)
    limits = replace(PLENTY, output_bytes=1000)
    assert await run(guest, "result = bytes(1000)", limits=limits) == bytes(1000)
    with pytest.raises(GuestEnded) as ended:
        await run(guest, "result = bytes(1001)", limits=limits)
    assert ended.value.kind == "output"
    with pytest.raises(GuestEnded):
        await run(guest, "result = 1")


async def test_the_time_of_a_call_starts_when_the_one_before_is_answered(sandbox: Sandbox, python: Runtime) -> None:
    guest = await sandbox.guest(python)
    code = b"for _ in range(10**6): pass\0"
    done: list[int] = []
    # Together they take longer than one may, by far.
    await guest.call_many([(code, SEED)] * 20, replace(PLENTY, wall_s=2), lambda index, _: done.append(index))
    assert done == list(range(20))


async def test_who_waits_for_a_slot_gets_it_when_a_guest_is_gone(sandbox: Sandbox, python: Runtime) -> None:
    held = [await sandbox.guest(python) for _ in range(CORES)]
    with trio.move_on_after(0.05) as waited:
        await sandbox.guest(python)
    assert waited.cancelled_caught
    held[0].discard()
    held[0].discard()
    following = await sandbox.guest(python)
    assert await run(following, "result = 5") == b"5"
    with pytest.raises(GuestEnded):
        await run(held[0], "result = 5")


async def test_a_cancelled_call_ends_the_guest_and_frees_its_slot(sandbox: Sandbox, python: Runtime) -> None:
    for _ in range(2 * CORES):
        guest = await sandbox.guest(python)
        with trio.move_on_after(0.02):
            await run(guest, "while True: pass")
        with pytest.raises(GuestEnded):
            await run(guest, "result = 5")


async def test_guests_that_start_at_the_same_moment_end_each_for_itself(sandbox: Sandbox, python: Runtime) -> None:
    await sandbox.prepare(python)
    workers = sandbox.process_ids()
    started: list[Guest] = []

    async def start() -> None:
        started.append(await sandbox.guest(python))

    async with trio.open_nursery() as nursery:
        for _ in range(CORES):
            nursery.start_soon(start)
    first, *others = started
    first.discard()
    await sandbox.guest(python)  # in the slot of the first, which is gone
    for other in others:
        assert await run(other, "result = 5") == b"5"
        other.discard()
    await sandbox.guest(python)
    assert sandbox.process_ids() == workers


async def test_a_guest_that_is_given_up_while_it_starts_costs_nobody_else(sandbox: Sandbox, python: Runtime) -> None:
    other = await sandbox.guest(python)
    workers = sandbox.process_ids()
    for _ in range(4 * CORES):
        started: list[Guest] = []

        async def start(into: list[Guest]) -> None:
            into.append(await sandbox.guest(python))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(start, started)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        for guest in started:
            guest.discard()
        assert await run(other, "result = 5") == b"5"
    assert sandbox.process_ids() == workers


async def test_a_guest_discarded_in_the_middle_of_a_call_ends_it(sandbox: Sandbox, python: Runtime) -> None:
    guest = await sandbox.guest(python)
    ended: list[GuestEnded] = []

    async def call() -> None:
        try:
            await run(guest, "while True: pass")
        except GuestEnded as error:
            ended.append(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(call)
        await trio.testing.wait_all_tasks_blocked()
        guest.discard()
    assert [error.kind for error in ended] == ["broken"]


async def test_a_guest_whose_process_is_killed_costs_nobody_else(sandbox: Sandbox, python: Runtime) -> None:
    guest, other = await sandbox.guest(python), await sandbox.guest(python)
    await run(guest, "result = 0")
    os.kill(children(sandbox.process_ids()[0])[0], signal.SIGKILL)
    with pytest.raises(GuestEnded) as ended:
        await run(guest, "while True: pass")
    assert ended.value.kind == "broken"
    assert await run(other, "result = 5") == b"5"
    assert await run(await sandbox.guest(python), "result = 5") == b"5"


async def test_a_killed_worker_takes_its_guests_along_and_is_started_again(sandbox: Sandbox, python: Runtime) -> None:
    guest = await sandbox.guest(python)
    await run(guest, "result = 0")
    worker = sandbox.process_ids()[0]
    child = os.pidfd_open(children(worker)[0])
    os.kill(worker, signal.SIGKILL)
    with pytest.raises(GuestEnded):
        await run(guest, "while True: pass")
    await trio.lowlevel.wait_readable(child)
    os.close(child)
    for _ in range(2 * CORES):
        following = await sandbox.guest(python)
        assert await run(following, "result = 5") == b"5"
        following.discard()


async def test_a_worker_killed_between_two_calls_is_noticed(sandbox: Sandbox, python: Runtime) -> None:
    await sandbox.prepare(python)
    process = os.pidfd_open(worker := sandbox.process_ids()[0])
    os.kill(worker, signal.SIGKILL)
    await trio.lowlevel.wait_readable(process)
    os.close(process)
    assert await run(await sandbox.guest(python), "result = 5") == b"5"


@pytest.fixture
def other(module_of: ModuleOf) -> Runtime:
    return module_of('(module (memory (export "memory") 1) (func (export "_start")))')


async def test_a_worker_given_up_at_the_moment_of_its_start_leaves_no_socket(
    modules: Sandbox, obedient: Runtime, other: Runtime
) -> None:
    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as given_up:

            async def first() -> None:
                await modules.prepare(obedient)
                given_up.cancel()  # the second has the turn now, but has not come to anything yet

            nursery.start_soon(first)
            await trio.testing.wait_all_tasks_blocked()
            await modules.prepare(other)
    assert given_up.cancelled_caught
    gc.collect()  # warns of a socket that nobody has closed


_DAEMON = """
import sys, trio
from p2p.sandbox import compiled, runtimes
from p2p.sandbox.limits import GuestLimits
from p2p.sandbox.sandbox import open_sandbox

async def main():
    runtime = runtimes.python(sys.argv[1])
    async with open_sandbox(1, compiled.default_folder()) as sandbox:
        guest = await sandbox.guest(runtime)
        await guest.call(b"result = 0", seed=bytes(32), limits=GuestLimits())
        print(*sandbox.process_ids(), flush=True)
        await guest.call(b"while True: pass", seed=bytes(32), limits=GuestLimits())

trio.run(main)
"""


def test_workers_and_guests_end_with_a_killed_peer(python: Runtime) -> None:
    daemon = subprocess.Popen(
        [sys.executable, "-P", "-c", textwrap.dedent(_DAEMON), EXECUTE], stdout=subprocess.PIPE, text=True
    )
    assert daemon.stdout is not None
    worker = int(daemon.stdout.readline())
    left = [os.pidfd_open(worker), *(os.pidfd_open(child) for child in children(worker))]
    assert len(left) == 2
    daemon.kill()
    daemon.wait()
    daemon.stdout.close()
    for process in left:
        assert select.select([process], [], [], 10)[0]
        os.close(process)


async def test_a_program_that_ends_before_it_reads_is_no_runtime(sandbox: Sandbox, python: Runtime) -> None:
    with pytest.raises(SandboxFailed, match="SyntaxError"):
        await sandbox.guest(runtimes.python("this is no Python"))
    assert await run(await sandbox.guest(python), "result = 5") == b"5"


async def test_what_is_not_compiled_is_not_started(python: Runtime, tmp_path_factory: pytest.TempPathFactory) -> None:
    async with open_sandbox(1, tmp_path_factory.mktemp("empty")) as sandbox:
        with pytest.raises(SandboxFailed, match="not compiled"):
            await sandbox.guest(python)


def test_what_no_sandbox_grants_is_refused() -> None:
    for wrong in ({"wall_s": 0.0}, {"memory_bytes": 1 << 40}, {"output_bytes": MAX_FRAME_BYTES + 1}, {"log_bytes": -1}):
        with pytest.raises(ValueError, match="beyond"):
            GuestLimits(**wrong)


@pytest.mark.skipif(not shutil.which("bwrap"), reason="bubblewrap is not installed")
async def test_where_landlock_is_missing_bubblewrap_stands_instead(
    python: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(isolation, "landlock_version", lambda: 0)
    assert "bubblewrap" in describe()
    async with open_sandbox(1, compiled.default_folder()) as sandbox:
        assert await run(await sandbox.guest(python), "result = 5") == b"5"
        process = os.pidfd_open(children(sandbox.process_ids()[0])[0])
    await trio.lowlevel.wait_readable(process)
    os.close(process)


def test_the_walls_are_told() -> None:
    assert "WebAssembly" in describe()


async def test_science_has_numpy(sandbox: Sandbox) -> None:
    science = runtimes.python_science(EXECUTE)
    if science is None or not compiled.is_compiled(compiled.default_folder(), science):
        pytest.skip("the extra `science` is not installed, or not compiled yet")
    guest = await sandbox.guest(science)
    assert await run(guest, "import numpy; result = int(numpy.arange(10).sum())") == b"45"
    assert await run(guest, "open('/etc/passwd')") == b"'FileNotFoundError'"
    assert await run(guest, "open('/usr/local/lib/python315.zip', 'r+b', 0).write(b'x')") == b"'PermissionError'"
    draw = "import numpy, os; result = numpy.random.default_rng(list(os.urandom(8))).random(4).tobytes()"
    assert await run(guest, draw) == await run(guest, draw)


# -- a process that is in a stranger's hands


async def _told(said: bytes, limits: GuestLimits) -> Reply:
    """What a call gives when the other side says this, whatever it was asked, and is gone."""
    ours, theirs = socket.socketpair()
    guest = Guest(ours, lambda: None)
    with theirs:
        theirs.sendall(said)
        theirs.shutdown(socket.SHUT_WR)
        try:
            return await guest.call(b"", seed=SEED, limits=limits)
        finally:
            guest.discard()


_SMALL = GuestLimits(output_bytes=100, log_bytes=100)
_WORDS = st.binary(max_size=120)
_ANSWER = st.tuples(st.integers(0, 5), st.one_of(st.none(), st.integers(0, 2**32 - 1)), _WORDS)


def _spoken(parts: list[tuple[int, int | None, bytes]]) -> bytes:
    return b"".join(
        messages.ANSWER.pack(kind, len(words) if size is None else size) + words for kind, size, words in parts
    )


@given(st.one_of(st.binary(max_size=200), st.lists(_ANSWER, max_size=6).map(_spoken)))
def test_whatever_a_guest_says_is_an_answer_within_limits_or_its_end(said: bytes) -> None:
    try:
        reply, log = trio.run(_told, said, _SMALL)
    except GuestEnded as error:
        assert error.kind in {"time", "memory", "output", "stack", "exit", "broken"}  # noqa: PT017 - one of two ends
        log = error.log
    else:
        assert len(reply) <= 100
    assert len(log) <= 100 + 256


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (messages.ANSWER.pack(messages.REPLY, 101), "broken"),
        (messages.ANSWER.pack(messages.LOG, 1 << 31), "broken"),
        (messages.ANSWER.pack(messages.ENDED, 1 << 20), "broken"),
        (messages.ANSWER.pack(messages.ENDED, 6) + b"stack\n", "stack"),
        (messages.ANSWER.pack(messages.ENDED, 5) + b"boom\n", "broken"),
        (messages.ANSWER.pack(messages.REPLY, 100) + bytes(99), "broken"),
        (b"", "broken"),
    ],
)
async def test_lengths_are_not_believed(said: bytes, kind: str) -> None:
    with pytest.raises(GuestEnded) as ended:
        await _told(said, _SMALL)
    assert ended.value.kind == kind


async def test_a_guest_that_only_logs_is_ended_at_the_limit() -> None:
    piece = messages.ANSWER.pack(messages.LOG, 50) + bytes(50)
    with pytest.raises(GuestEnded) as ended:
        await _told(piece * 100, _SMALL)
    assert len(ended.value.log) <= 100 + 256


async def test_an_owners_mistake_is_an_error_before_anything_is_sent(sandbox: Sandbox, python: Runtime) -> None:
    guest = await sandbox.guest(python)

    def refused() -> NoReturn:
        raise AssertionError

    never: Callable[[int, Reply], None] = lambda *_: refused()  # noqa: E731
    with pytest.raises(ValueError, match="seed"):
        await guest.call_many([(b"", b"short")], PLENTY, never)
    assert await run(guest, "result = 5") == b"5"
