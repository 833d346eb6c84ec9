"""Calls of `concurrent.futures` and of joblib, performed by a volunteer."""

import sys
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError
from contextlib import suppress

import pytest
import trio
from joblib import Parallel, delayed

from p2p import Peer
from p2p.client import executor as executors
from p2p.errors import ConfigError, JobError
from tests.support import processes
from tests.support.constants import Shorten
from tests.support.world import World, hint_of
from tests.support.world_jobs import volunteer


def power(base: int, exponent: int = 2) -> int:
    return int(base**exponent)


def inverse(number: int) -> float:
    return 1 / number


def rude(item: int) -> int:
    raise ValueError("\x1b]0;title\x07\u202e")


class Estimator:
    """As scikit-learn has them, by its name."""

    __module__ = "sklearn.linear_model"


def hanging(item: int) -> int:
    while item:
        pass
    return item


async def test_volunteers_perform_calls(world: World, shorten: Shorten) -> None:
    """One world for all of it, as volunteers are slow to start."""
    lender, owner = await volunteer(world), await world.peer("owner")
    shorten(executors, "GATHER_S", 0.2)

    def run() -> None:
        with Peer(owner.home, peers=[str(hint_of(lender))]) as peer:
            calls_of_one_function_are_one_job(peer)
            a_call_that_finds_no_thread_is_refused_and_the_next_one_is_not_lost(peer)
            joblib_calls_at_volunteers(peer)
            an_exception_in_the_block_cancels_what_is_under_way(peer)

    await trio.to_thread.run_sync(run)


def a_call_that_finds_no_thread_is_refused_and_the_next_one_is_not_lost(peer: Peer) -> None:
    def refused(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with peer.executor() as executor:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(threading.Thread, "start", refused)
            with pytest.raises(RuntimeError, match="new thread"):
                executor.submit(power, 1)
        assert executor.submit(power, 3).result(60) == 9


def calls_of_one_function_are_one_job(peer: Peer) -> None:
    with peer.executor() as pool:
        squares = [pool.submit(power, number) for number in range(5)]
        cube = pool.submit(power, 2, exponent=3)
        assert [one.result(processes.PATIENCE_S) for one in squares] == [0, 1, 4, 9, 16]
        assert cube.result(processes.PATIENCE_S) == 8
        assert len(peer.jobs()) == 1
        inverses = [pool.submit(inverse, number) for number in (2, 0)]
        assert inverses[0].result(processes.PATIENCE_S) == 0.5
        with pytest.raises(JobError, match=r"return 1 / number(.|\n)*ZeroDivisionError: division by zero"):
            inverses[1].result(processes.PATIENCE_S)
        for failed in (pool.submit(rude, 1), peer.map(rude, [1])):
            with pytest.raises(JobError, match=r"ValueError: \\x1b\]0;title\\x07\\u202e"):
                failed.result(processes.PATIENCE_S)
        with pytest.raises(ConfigError, match="This cannot be sent: object does not travel"):
            pool.submit(power, object())  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match="<lambda> is not at the top level"):
            pool.submit(lambda: 5).result(processes.PATIENCE_S)
        assert list(pool.map(power, [1, 2], [2, 5])) == [1, 32]
    with pytest.raises(RuntimeError, match="was shut down"):
        pool.submit(power, 2)

    pool = peer.executor()
    waiting = pool.submit(power, 3)
    pool.shutdown(cancel_futures=True)
    with pytest.raises(CancelledError):
        waiting.result(processes.PATIENCE_S)


def joblib_calls_at_volunteers(peer: Peer) -> None:
    with peer.joblib():
        found = Parallel()(delayed(power)(number, exponent=3) for number in range(20))
        assert found == [number**3 for number in range(20)]
    with pytest.raises(JobError, match="division by zero"), peer.joblib(n_jobs=2):
        Parallel()(delayed(inverse)(number) for number in (1, 0))
    with pytest.raises(ConfigError, match="scikit-learn cannot compute at volunteers"), peer.joblib():
        Parallel()(delayed(power)(Estimator()) for _ in range(1))


def an_exception_in_the_block_cancels_what_is_under_way(peer: Peer) -> None:
    with suppress(KeyboardInterrupt), peer.executor() as pool:
        stuck = pool.submit(hanging, 1)
        processes.until(lambda: peer.jobs()[0].name == "hanging", "the job")
        raise KeyboardInterrupt
    with pytest.raises(JobError, match="cancelled"):
        stuck.result(processes.PATIENCE_S)
    assert peer.jobs()[0].state == "cancelled"
    assert not [one for one in threading.enumerate() if one.name == "shoal-calls"]


@pytest.mark.parametrize(
    ("module", "extra", "use"),
    [
        ("p2p.client.parallel", "joblib", lambda peer: peer.joblib()),
        ("p2p.client.filesystem.system", "fs", lambda peer: peer.open("shoal://x/y")),
    ],
)
def test_who_lacks_an_extra_is_told_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, module: str, extra: str, use: Callable[[Peer], object]
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigError, match=rf"pip install '\.\[{extra}\]'"):
        use(object.__new__(Peer))
