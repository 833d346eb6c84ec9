"""A program asks the peer of a home, which runs in this process, from threads."""

import logging
import pickle
import threading
from typing import Any

import pytest
import trio

from p2p import Peer, Progress, Running
from p2p.control.path import socket_path
from p2p.errors import ConfigError, JobError, NotFound, PeerGone
from p2p.ids import to_text
from tests.support import processes
from tests.support.world import World, hint_of, same_tree, until
from tests.support.world_jobs import SUM, volunteer, write_job

NOBODY = to_text(bytes(32))
STUCK = (
    "def job(inputs):\n    return inputs.range(1).map(work).sum()\n\n\ndef work(n):\n    while True:\n        pass\n"
)


async def test_what_one_peer_shares_another_gets(world: World, caplog: pytest.LogCaptureFixture) -> None:
    one, other = await world.peer("one"), await world.peer("other")
    folder = world.folder / "texts"
    folder.mkdir()
    (folder / "a.txt").write_bytes(b"a" * 100_000)
    (folder / "a.tmp").write_bytes(b"b")
    seen: list[Progress] = []

    def both() -> None:
        with Peer(one.home) as giver, Peer(other.home, peers=[str(hint_of(one))]) as taker:
            shared = giver.share(folder, exclude=["*.tmp"])
            assert (shared.name, shared.files, shared.bytes, shared.left_out) == ("texts", 1, 100_000, 1)
            assert [row.id for row in giver.shares()] == [shared.id]
            assert [row.link for row in taker.browse(str(hint_of(one)))]
            got = taker.get(shared.link, world.folder / "out", wait_s=processes.PATIENCE_S, on_progress=seen.append)
            assert got.paths == (str(world.folder / "out" / "texts"),)
            (folder / "a.tmp").unlink()
            assert same_tree(folder, world.folder / "out" / "texts")
            assert giver.status().peer == to_text(one.peer_id)
            assert isinstance(giver.peers(), list)
            assert giver.unshare(shared.id[:10]).name == "texts"
            assert giver.shares() == []

    with caplog.at_level(logging.WARNING, "p2p.client"):
        await trio.to_thread.run_sync(both)
    assert seen[-1].done == 100_000


async def test_errors_are_those_of_the_peer(world: World) -> None:
    local = await world.peer("one")

    def ask() -> None:
        peer = Peer(local.home)
        with pytest.raises(NotFound, match="Nobody had it"):
            peer.get(NOBODY, world.folder, wait_s=0.01)
        with pytest.raises(ConfigError, match="is neither a link"):
            peer.get("nonsense", world.folder)
        with pytest.raises(ConfigError, match="get: Expected `str`, got `int` - at `"):
            peer.get(5, world.folder)  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match="search: Encoding objects of type PosixPath is unsupported"):
            peer.search(world.folder)  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match="give a list, as in select="):
            peer.get(NOBODY, world.folder, select="*.txt")
        with pytest.raises(ConfigError, match="A path is empty"):
            peer.share("")
        with pytest.raises(ConfigError, match="Name a file or folder"):
            peer.share()
        with pytest.raises(ConfigError, match="No jobs have an id"):
            peer.result("abc")
        with pytest.raises(ConfigError, match="4194304 are allowed"):
            peer.search("x" * (5 << 20))
        peer.close()
        peer.close()
        with pytest.raises(ConfigError, match="is closed"):
            peer.status()

    await trio.to_thread.run_sync(ask)
    assert not socket_path(world.folder).exists()


async def test_a_peer_that_runs_keeps_its_own_network_and_trackers(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    local = await world.peer("one")

    def ask() -> None:
        with pytest.raises(ConfigError, match="is in the network test-world"):
            Peer(local.home, network="other")
        with Peer(local.home, network="test-world", trackers=["http://127.0.0.1:1"], peers=["127.0.0.1:2"]) as peer:
            copy = pickle.loads(pickle.dumps(peer))
            assert pickle.dumps(copy) == pickle.dumps(peer)
        assert copy.status().home == str(local.home)
        copy.close()

    await trio.to_thread.run_sync(ask)
    await local.activity.idle()
    assert (
        caplog.messages
        == ["a peer is running in this home: it keeps its own trackers, and http://127.0.0.1:1 is ignored"] * 2
    )


async def test_threads_ask_at_the_same_time(world: World) -> None:
    local = await world.peer("one")

    def ask() -> None:
        with Peer(local.home) as peer:
            found: list[str] = []
            threads = [threading.Thread(target=lambda: found.append(peer.status().peer)) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(processes.PATIENCE_S)
            assert found == [to_text(local.peer_id)] * 8

    await trio.to_thread.run_sync(ask)


async def test_an_exception_in_the_caller_ends_the_request_in_the_peer(world: World) -> None:
    local = await world.peer("one")

    def interrupted(progress: Progress) -> None:
        raise KeyboardInterrupt

    def ask() -> None:
        with Peer(local.home) as peer, pytest.raises(KeyboardInterrupt):
            peer.get(NOBODY, world.folder, wait_s=processes.PATIENCE_S, on_progress=interrupted)

    await trio.to_thread.run_sync(ask)
    await until(lambda: not local.swarms.fetches)
    await local.activity.idle()


async def test_a_peer_is_held_as_long_as_it_is_used(world: World) -> None:
    local = await world.peer("one")
    peer = await trio.to_thread.run_sync(Peer, local.home)
    assert local.activity.is_busy
    await trio.to_thread.run_sync(peer.close)
    await local.activity.idle()


async def test_a_peer_that_was_started_again_is_asked(world: World) -> None:
    local = await world.peer("one")
    peer = await trio.to_thread.run_sync(Peer, local.home)
    await world.stop("one")
    again = await world.peer("one")
    assert (await trio.to_thread.run_sync(peer.status)).peer == to_text(again.peer_id)
    await trio.to_thread.run_sync(peer.close)


async def test_a_job_in_the_background_outlives_the_program(world: World) -> None:
    lender = await volunteer(world)
    owner, passing = await world.peer("owner", stays=True), await world.peer("passing")
    path = write_job(world, SUM)

    def run() -> None:
        with Peer(owner.home, peers=[str(hint_of(lender))]) as peer:
            job = peer.run(path, args={"n": 10}, runtime="python-wasm", wait_s=60, background=True).job
        with Peer(owner.home) as again:
            assert again.job(job).result(processes.PATIENCE_S).result == sum(n * n for n in range(10))
        with Peer(passing.home) as peer, pytest.raises(ConfigError, match="shoal node"):
            peer.run(path, background=True)

    await trio.to_thread.run_sync(run)
    await owner.activity.idle()


async def test_a_job_runs_while_the_program_goes_on_and_is_stopped_resumed_and_cancelled(world: World) -> None:
    lender = await volunteer(world)
    owner = await world.peer("owner")
    path, stuck = write_job(world, SUM), write_job(world, STUCK, "stuck.py")

    def run() -> None:
        with Peer(owner.home, peers=[str(hint_of(lender))]) as peer:
            running = peer.run(path, args={"n": 10}, runtime="python-wasm", wait_s=60)
            answer = running.result(processes.PATIENCE_S)
            assert (answer.result, answer.state) == (sum(n * n for n in range(10)), "done")
            assert running.is_done
            assert running.job == answer.job
            assert running.result(processes.PATIENCE_S) is answer
            assert any(running.job[:8] in note for note in running.notes)
            assert running.logs() == []
            assert peer.result(answer.job[:12]) == answer
            assert [row.state for row in peer.jobs()] == ["done"]
            running.cancel()

            assert peer.job(answer.job[:12]).result(processes.PATIENCE_S) == answer

            running = begun(peer.run(stuck, runtime="python-wasm"))
            followed = begun(peer.job(running.job))
            with pytest.raises(TimeoutError):
                followed.result(0.01)
            followed.stop()
            assert not running.is_done
            followed = begun(peer.job(running.job))
            with pytest.raises(TimeoutError, match="It goes on"):
                running.result(0.01)
            running.stop()
            assert running.is_done
            with pytest.raises(PeerGone, match="was cancelled"):
                running.result(processes.PATIENCE_S)
            assert peer.jobs()[0].state == "stopped"
            with pytest.raises(ConfigError, match="it is not done yet"):
                followed.result(processes.PATIENCE_S)
            running = begun(peer.resume(running.job))
            peer.job(running.job).cancel()
            with pytest.raises(JobError, match="The job was cancelled"):
                running.result(processes.PATIENCE_S)
            assert peer.jobs()[0].state == "cancelled"

    await trio.to_thread.run_sync(run)
    await owner.activity.idle()


def begun(running: Running[Any]) -> Running[Any]:
    """A job that runs."""
    processes.until(lambda: running.progress.view is not None or running.is_done, "the job's beginning")
    return running


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ({"x": float("nan")}, "nan in it"),
        ({"x": (1, 2)}, "has a tuple in it"),
        ({"x": [{1}]}, "has a set in it"),
        ({"x": {1: 2}}, "the key 1 in it"),
        ({"x": b"x"}, "has a bytes in it"),
        ({"x": 10**5000}, "too many digits"),
        ({"a b": 1}, "cannot be the name"),
    ],
)
async def test_arguments_that_would_arrive_as_others_are_refused(
    world: World, args: dict[str, object], words: str
) -> None:
    local = await world.peer("one")

    def run() -> None:
        with Peer(local.home) as peer, pytest.raises(ConfigError, match=words):
            peer.run("job.py", args=args)

    await trio.to_thread.run_sync(run)
