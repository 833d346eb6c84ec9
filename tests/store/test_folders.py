"""Folders: descriptors of the right folders, few of them idle, none closed under its taker, no link followed."""

import os
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from threading import Barrier

import pytest

from p2p.errors import StorageError
from p2p.store import posix
from p2p.store.folders import MAX_OPEN, Folders
from tests.support.leaks import descriptors

MORE = MAX_OPEN + 20


@pytest.fixture
def top(tmp_path: Path) -> Path:
    top = tmp_path / "top"
    top.mkdir()
    return top


@pytest.fixture
def folders(top: Path) -> Iterator[Folders]:
    folders = Folders(top)
    yield folders
    folders.close()


def same(descriptor: int, path: Path) -> bool:
    return os.path.samestat(os.fstat(descriptor), path.stat())


def test_a_folder_is_made_when_it_is_first_taken(folders: Folders, top: Path) -> None:
    with folders.taken(("a", "b", "c")) as descriptor:
        assert same(descriptor, top / "a/b/c")
    with folders.taken(("a",)) as descriptor:
        assert same(descriptor, top / "a")
    with folders.taken(()) as descriptor:
        assert same(descriptor, top)
    assert [path.relative_to(top).as_posix() for path in sorted(top.rglob("*"))] == ["a", "a/b", "a/b/c"]


def test_taken_twice_it_is_one_descriptor(folders: Folders, top: Path) -> None:
    first = folders.take(("a",))
    assert folders.take(("a",)) == first
    folders.give(("a",))
    assert same(first, top / "a")
    folders.give(("a",))
    assert len(descriptors(top)) == 1


def test_of_the_idle_ones_the_least_recently_used_are_closed(folders: Folders, top: Path) -> None:
    for number in range(MORE):
        for path in ((f"{number}",), ("often",)):
            with folders.taken(path):
                assert len(descriptors(top)) <= MAX_OPEN
    still = {os.readlink(f"/proc/self/fd/{descriptor}") for descriptor in descriptors(top)}
    assert still == {str(top / f"{number}") for number in range(MORE - MAX_OPEN + 1, MORE)} | {str(top / "often")}


def test_what_is_taken_survives_the_coming_and_going_of_others(folders: Folders, top: Path) -> None:
    with folders.taken(("mine", "own")) as descriptor:
        for number in range(3 * MORE):
            with folders.taken((f"{number}",)):
                pass
        assert same(descriptor, top / "mine/own")
        assert len(descriptors(top)) <= MAX_OPEN


def test_when_many_are_given_back_at_once_few_stay_open(folders: Folders, top: Path) -> None:
    with ExitStack() as stack:
        for number in range(MORE):
            assert same(stack.enter_context(folders.taken((f"{number}",))), top / f"{number}")
        assert len(descriptors(top)) == MORE
    assert len(descriptors(top)) == MAX_OPEN


def test_what_is_taken_when_it_closes_is_closed_when_given_back(top: Path) -> None:
    folders = Folders(top)
    descriptor = folders.take(("a",))
    folders.take(("a",))
    with folders.taken(("b",)):
        pass
    folders.close()
    folders.give(("a",))
    assert same(descriptor, top / "a")
    folders.give(("a",))
    assert descriptors(top) == []
    with pytest.raises(OSError, match="no longer"):
        folders.take(("a",))


@pytest.mark.parametrize("path", [("x",), ("x", "y"), ("a", "x"), ("a", "x", "y", "z")])
@pytest.mark.parametrize("kind", ["file", "link to a folder", "dangling link"])
def test_what_stands_in_the_way_is_refused_and_left_alone(
    folders: Folders, top: Path, tmp_path: Path, path: tuple[str, ...], kind: str
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    obstacle = top.joinpath(*path[: path.index("x") + 1])
    obstacle.parent.mkdir(exist_ok=True)
    match kind:
        case "file":
            obstacle.write_bytes(b"theirs")
        case "link to a folder":
            obstacle.symlink_to(outside)
        case _:
            obstacle.symlink_to(outside / "nowhere")
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(StorageError, match="leads through"):
        folders.take(path)
    assert len(os.listdir("/proc/self/fd")) == before
    assert list(outside.iterdir()) == []
    # Once it is out of the way all is well.
    obstacle.unlink()
    with folders.taken(path) as descriptor:
        assert same(descriptor, top.joinpath(*path))


def test_a_root_that_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for name in ("file", "nothing"):
        with pytest.raises(OSError, match="director"):
            Folders(tmp_path / name)


def test_threads_never_get_a_folder_that_is_not_theirs(folders: Folders, top: Path) -> None:
    threads, rounds = 6, 300
    together = Barrier(threads)

    def work(seed: int) -> None:
        chance = random.Random(seed)
        together.wait()
        for _ in range(rounds):
            paths = [(f"{chance.randrange(3)}", f"{chance.randrange(MORE)}") for _ in range(chance.randrange(1, 5))]
            with ExitStack() as stack:
                taken = [(path, stack.enter_context(folders.taken(path))) for path in paths]
                for path, descriptor in taken:
                    assert same(descriptor, top.joinpath(*path))

    with ThreadPoolExecutor(threads) as pool:
        for future in [pool.submit(work, seed) for seed in range(threads)]:
            future.result()
    assert len(descriptors(top)) <= MAX_OPEN


def test_threads_that_work_while_it_closes_get_their_folder_or_an_error(top: Path) -> None:
    folders = Folders(top)
    threads = 4
    together = Barrier(threads + 1)

    def work(seed: int) -> None:
        chance = random.Random(seed)
        together.wait()
        while True:
            path = (f"{chance.randrange(MORE)}",)
            try:
                with folders.taken(path) as descriptor:
                    assert same(descriptor, top.joinpath(*path))
            except OSError as error:
                assert "no longer in use" in str(error)  # noqa: PT017
                return

    with ThreadPoolExecutor(threads) as pool:
        futures = [pool.submit(work, seed) for seed in range(threads)]
        together.wait()
        with folders.taken(("mine",)):
            pass
        folders.close()
        for future in futures:
            future.result()
    assert descriptors(top) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give folders away")
def test_a_home_that_a_group_or_another_user_can_change_is_refused(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    home.chmod(0o775)
    with posix.lock_home(home):
        assert [path.name for path in home.iterdir()] == ["lock"]
    (home / "lock").unlink()
    for owner, group, who, advice in (
        (0, 54321, f"Others can write to {home}, as members of the group 54321", f"chmod g-w {home}"),
        (54321, 0, f"{home} belongs to another user, 54321", "run this as 54321"),
    ):
        os.chown(home, owner, group)
        with pytest.raises(StorageError) as refused, posix.lock_home(home):
            pass
        text = str(refused.value)
        assert text == f"{who}, and a peer's home must be its user's alone: {advice}, or choose another --home."
        assert not list(home.iterdir()), "nothing was made there"
