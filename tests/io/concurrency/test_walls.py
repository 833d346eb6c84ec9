"""Walls: what passes, what is told as a bug, how often it is logged, and how a kept task is restarted."""

import errno
import logging
import socket
from collections.abc import Callable, Iterator
from itertools import pairwise
from random import Random

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from p2p.concurrency import accepting, walls
from p2p.concurrency.background import Background
from p2p.concurrency.walls import LOG_INTERVAL_S, MAX_PLACES, BugLog, Wall
from p2p.errors import InternalError, NotFound, PeerGone, ShoalError, StorageError
from tests.support.constants import Shorten

Expect = Callable[[int], None]


@pytest.fixture
def wall() -> Iterator[Wall]:
    """A wall that is in the register for this test only."""
    yield Wall("test")
    del walls.WALLS["test"]


def group(*errors: BaseException) -> BaseException:
    return BaseExceptionGroup("several", errors)


@pytest.mark.parametrize("error", [NotFound("x"), PeerGone("x"), StorageError("x"), InternalError()])
def test_an_expected_error_passes_as_it_is(wall: Wall, error: ShoalError) -> None:
    for raised in (error, group(error), group(group(error), error)):
        with pytest.raises(ShoalError) as caught, wall.around():
            raise raised
        assert caught.value is error


@pytest.mark.parametrize("bug", [OverflowError("x"), OSError(errno.EIO, "x"), AssertionError(), RecursionError()])
def test_anything_else_is_a_bug(wall: Wall, bug: Exception, expects_bugs: Expect) -> None:
    expects_bugs(3)
    for raised in (bug, group(bug), group(PeerGone("x"), group(bug))):
        with pytest.raises(InternalError) as caught, wall.around():
            raise raised
        assert caught.value.__cause__ is bug
        assert ("check it" in str(caught.value)) is isinstance(bug, OSError)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(), trio.TrioInternalError()])
def test_what_ends_the_process_passes(wall: Wall, error: BaseException, expects_bugs: Expect) -> None:
    with pytest.raises(type(error)), wall.around():
        raise error
    expects_bugs(1)
    with pytest.raises(BaseExceptionGroup) as caught, wall.around():
        raise group(error, ValueError())
    assert caught.value.exceptions == (error,)


async def test_a_cancellation_passes_and_a_bug_beside_it_is_told(wall: Wall, expects_bugs: Expect) -> None:
    expects_bugs(1)

    async def fail_when_cancelled() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError

    with trio.CancelScope() as scope:
        with wall.around():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(fail_when_cancelled)
                await trio.testing.wait_all_tasks_blocked()
                scope.cancel()
                await trio.sleep_forever()
        pytest.fail("the cancellation did not pass")
    assert scope.cancelled_caught


def test_a_bug_goes_through_two_walls_as_one(wall: Wall, expects_bugs: Expect) -> None:
    expects_bugs(1)
    with pytest.raises(InternalError), wall.around(), wall.around():
        raise ValueError


def test_a_place_is_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    log = BugLog(lambda: now)

    def fail() -> Exception:
        try:
            raise ValueError("over this")
        except ValueError as error:
            return error

    for _ in range(5):
        log.report("conversation", fail())
    log.report("command", fail())
    now = LOG_INTERVAL_S
    log.report("conversation", fail())
    assert log.count == 7
    assert len(caplog.records) == 3
    assert "4 more" in caplog.records[2].getMessage()
    assert all(record.levelno == logging.ERROR and record.exc_info for record in caplog.records)


def test_the_log_of_places_is_bounded() -> None:
    log = BugLog(lambda: 0.0)
    for number in range(2 * MAX_PLACES):
        log.report(f"wall {number}", ValueError())
    assert len(log._places) == MAX_PLACES


async def test_a_contained_task_ends_alone(wall: Wall, expects_bugs: Expect, caplog: pytest.LogCaptureFixture) -> None:
    expects_bugs(1)

    async def fail(error: Exception) -> None:
        raise error

    await wall.contain(fail, ValueError())
    await wall.contain(fail, StorageError("the disk is full"))
    await wall.contain(fail, PeerGone("left"))
    assert "the disk is full" in caplog.text
    assert "left" not in caplog.text


async def test_a_kept_task_is_restarted_less_and_less_often(
    wall: Wall, autojump_clock: MockClock, expects_bugs: Expect, shorten: Shorten
) -> None:
    shorten(walls, "SETTLED_S", 10.0)
    expects_bugs(4)
    started: list[float] = []

    async def task() -> None:
        started.append(trio.current_time())
        if len(started) == 4:
            await trio.sleep(11)
        if len(started) < 5:
            raise ValueError

    await wall.keep(task, Random(1))
    pauses = [later - earlier for earlier, later in pairwise(started)]
    assert pauses[0] < pauses[1] < pauses[2]
    assert pauses[3] - 11 < pauses[2]  # it had run for long


async def test_work_in_the_background_tells_its_bug_to_who_waits(expects_bugs: Expect) -> None:
    expects_bugs(1)

    async def fail() -> None:
        raise ValueError

    work = Background(fail)
    await work.run()
    with pytest.raises(InternalError):
        await work.done()


def test_a_name_is_taken_once(wall: Wall) -> None:
    with pytest.raises(ValueError, match="already"):
        Wall("test")


async def test_accepting_outlives_what_serving_and_the_system_do(
    autojump_clock: MockClock, expects_bugs: Expect, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    expects_bugs(1)
    served = 0

    async def serve(accepted: trio.socket.SocketType) -> None:
        nonlocal served
        served += 1
        if served == 1:
            raise ValueError
        await accepted.send(b"served")

    real_accept = socket.socket.accept
    failures = [errno.EMFILE, errno.ECONNABORTED, errno.ENFILE]

    def accept(self: socket.socket) -> tuple[socket.socket, object]:
        if failures:
            raise OSError(failures.pop(), "x")
        return real_accept(self)

    monkeypatch.setattr(socket.socket, "accept", accept)
    listener, first, second = (trio.socket.socket() for _ in range(3))
    await listener.bind(("127.0.0.1", 0))
    listener.listen()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(accepting.accept, listener, nursery, serve)
        await first.connect(listener.getsockname())
        assert await first.recv(10) == b""
        await second.connect(listener.getsockname())
        assert await second.recv(10) == b"served"
        assert await second.recv(10) == b""
        nursery.cancel_scope.cancel()
    for opened in (listener, first, second):
        opened.close()
    assert caplog.text.count("cannot accept") == 1
