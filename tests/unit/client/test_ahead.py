"""Small files that are read ahead: how many come together, in what order files may be read, and what is wrong."""

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest

from p2p.client.filesystem.ahead import MAX_FILES, MAX_FOLDERS, MAX_RUN_BYTES, MAX_RUNS, SMALL_BYTES, Info, ReadAhead


def rows_of(folder: str, sizes: list[int]) -> list[Info]:
    return [{"name": f"{folder}/{number:05}", "size": size, "type": "file"} for number, size in enumerate(sizes)]


class Peer:
    """Answers as a peer does, and keeps what it was asked."""

    def __init__(self, **folders: list[int]) -> None:
        self.rows = {folder: rows_of(folder, sizes) for folder, sizes in folders.items()}
        self.asked: list[tuple[str, str, int]] = []
        self.ahead = ReadAhead(self.together)
        self.fault: Callable[[bytes], bytes] = lambda body: body

    def together(self, folder: str, before: str, count: int) -> bytes:
        self.asked.append((folder, before, count))
        rows = self.rows[folder]
        first = next((at + 1 for at, row in enumerate(rows) if row["name"] == before), 0)
        return self.fault(b"".join(content(row) for row in rows[first : first + count]))

    def read(self, folder: str, place: int) -> bytes | None:
        """Reads a file, and checks it. None if it is to be asked for alone."""
        row = self.rows[folder][place]
        found = self.ahead.read(row["name"], folder, self.rows[folder])
        assert found in {None, content(row)}
        return found


def content(row: Info) -> bytes:
    return str(row["name"]).encode().ljust(row["size"], b".")[: row["size"]]


def test_files_read_in_order_come_more_and_more_together() -> None:
    peer = Peer(f=[100] * 2000)
    alone = [place for place in range(2000) if peer.read("f", place) is None]
    assert alone == [0]
    assert [count for _, _, count in peer.asked[:4]] == [2, 4, 8, 16]
    assert max(count for _, _, count in peer.asked) == MAX_FILES
    assert len(peer.asked) == 14
    assert peer.asked[0] == ("f", "f/00000", 2)


def test_neither_large_files_nor_folders_nor_too_many_bytes_come_together() -> None:
    peer = Peer(f=[SMALL_BYTES] * 100 + [SMALL_BYTES + 1] + [10] * 50)
    peer.rows["f"][120]["type"] = "directory"
    alone = [place for place in range(151) if place not in {100, 120} and peer.read("f", place) is None]
    assert alone == [0]
    assert max(count for _, _, count in peer.asked) <= max(MAX_RUN_BYTES // SMALL_BYTES, 50)
    for _, before, count in peer.asked:
        first = int(before.rpartition("/")[2] or -1) + 1
        assert not {100, 120} & set(range(first, first + count))


def test_files_that_are_read_in_no_order_come_alone() -> None:
    peer, places = Peer(f=[100] * 2000), list(range(0, 2000, 40))
    random.Random(1).shuffle(places)
    assert all(peer.read("f", place) is None for place in places)
    assert not peer.asked


def test_who_reads_elsewhere_in_order_reads_together_there() -> None:
    peer = Peer(f=[100] * 2000)
    for first in (0, 1000, 200):
        alone = [place for place in range(first, first + 300) if peer.read("f", place) is None]
        assert len(alone) <= 2
    for place in (1900, 1700, 1901, 1701):  # by turns, it is no order
        assert peer.read("f", place) is None


def test_the_same_file_is_read_again_alone() -> None:
    peer = Peer(f=[100] * 50)
    for place in range(20):
        peer.read("f", place)
    asked = len(peer.asked)
    assert peer.read("f", 3) is None
    assert peer.read("f", 20) is not None
    assert len(peer.asked) == asked


@pytest.mark.parametrize("threads", [2, 8])
def test_many_threads_read_a_folder_together(threads: int) -> None:
    peer = Peer(f=[100] * 2000)
    places, start = iter(range(2000)), Barrier(threads)

    def work() -> int:
        start.wait()
        return sum(peer.read("f", place) is None for place in places)

    with ThreadPoolExecutor(threads) as pool:
        alone = sum(pool.map(lambda _: work(), range(threads)))
    assert alone + len(peer.asked) < 100


def refused(_: bytes) -> bytes:
    raise OSError("nobody has it")


@pytest.mark.parametrize("fault", [lambda body: body[:150], lambda _: b"", refused])
def test_what_does_not_come_is_asked_for_alone(fault: Any) -> None:
    peer = Peer(f=[100] * 50)
    peer.fault = fault
    found = [peer.read("f", place) for place in range(50)]
    assert found.count(None) > 40
    assert peer.ahead._coming == {}


def test_what_nobody_comes_for_is_forgotten() -> None:
    peer = Peer(**{f"f{number}": [100] * 1000 for number in range(12)})
    for folder in peer.rows:
        for place in range(10):
            peer.read(folder, place)
    assert len(peer.ahead._runs) == MAX_RUNS
    assert len(peer.ahead._coming) <= MAX_RUNS * MAX_FILES
    assert len(peer.ahead._folders) == MAX_FOLDERS


def test_a_new_list_of_a_folder_is_a_new_folder() -> None:
    peer = Peer(f=[100] * 50)
    for place in range(5):
        peer.read("f", place)
    peer.rows["f"] = rows_of("f", [7] * 50)
    peer.ahead.forget()
    assert [peer.read("f", place) is None for place in range(3)] == [True, False, False]
