"""Shares as a file system of fsspec: two peers of their own processes, one that shares and one that is asked."""

import errno
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fsspec
import pytest

from p2p.client.filesystem.system import BLOCK_BYTES, ShoalFileSystem
from tests.client.two_peers import OFFLINE, Shared, sharing
from tests.support.leaks import none_left
from tests.support.processes import Peer, make_file, until

ODD = {
    "a[1]*.csv": b"one",
    "x#y?.csv": b"two",
    "a1b.csv": b"three",
    "100%.csv": b"four",
    "soft\u00adhyphen.csv": b"five",
}
MIB = 1 << 20


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    folder = tmp_path_factory.mktemp("filesystem")
    data = folder / "data"
    make_file(data / "deep" / "large.bin", 3 * MIB + 7)
    (data / "deep" / "empty").touch()
    for name, content in ODD.items():
        (data / name).write_bytes(content)
    os.utime(data / "a1b.csv", (1e9, 1e9))
    with sharing(folder, data, "--times", "--as", "news") as made:
        yield made


@pytest.fixture
def system(shared: Shared) -> Iterator[ShoalFileSystem]:
    made = shared.system()
    yield made
    made.close()


def test_files_are_found_and_read_whatever_their_names(shared: Shared, system: ShoalFileSystem) -> None:
    assert fsspec.get_filesystem_class("shoal") is ShoalFileSystem
    names = system.ls(shared.root, detail=False)
    assert f"{shared.id}/a%5B1%5D%2A.csv" in names
    assert f"{shared.id}/soft%C2%ADhyphen.csv" in names
    assert {system.cat_file(name) for name in names if name.endswith(".csv")} == set(ODD.values())
    for name, content in ODD.items():
        assert system.cat_file(f"{shared.root}/{name}") == content
        assert system.open(f"{shared.root}/{name}").read() == content
    assert system.glob(f"{shared.root}/a*b.csv") == [f"{shared.id}/a1b.csv"]
    assert system.glob(f"{shared.root}/a%5B1%5D*") == [f"{shared.id}/a%5B1%5D%2A.csv"]
    assert len(system.glob(f"{shared.root}/**/*")) == len(ODD) + 3
    assert system.find(f"{shared.root}/deep") == [f"{shared.id}/deep/empty", f"{shared.id}/deep/large.bin"]
    assert system.du(f"{shared.root}/deep") == 3 * MIB + 7
    (one,) = fsspec.open_files(
        f"{shared.root}/a1*", home=shared.reader.home, link=shared.link, skip_instance_cache=True
    )
    with one as file:
        assert file.read() == b"three"
    one.fs.close()


def test_what_is_known_of_a_file(shared: Shared, system: ShoalFileSystem) -> None:
    path = f"{shared.root}/a1b.csv"
    headed = system.info(path)
    system.invalidate_cache()
    (listed,) = system.ls(path)
    assert headed == listed == next(one for one in system.ls(shared.root) if one["name"].endswith("a1b.csv"))
    assert (headed["size"], headed["type"]) == (5, "file")
    assert system.ukey(path) == headed["id"]
    assert system.modified(path) == datetime.fromtimestamp(1e9, UTC)
    assert system.isdir(f"{shared.root}/deep/")
    assert system.isdir("shoal://")
    assert not system.exists(f"{shared.root}/deep/nothing")


def test_any_range_is_read_as_it_is_on_disk(shared: Shared, system: ShoalFileSystem) -> None:
    truth, path = (shared.folder / "deep" / "large.bin").read_bytes(), f"{shared.root}/deep/large.bin"
    size = len(truth)
    ranges = [
        (0, None),
        (5, 9),
        (-7, None),
        (-9, -2),
        (size - 1, size + 9),
        (size, None),
        (7, 7),
        (9, 3),
        (None, -size),
    ]
    for start, end in ranges:
        assert system.cat_file(path, start, end) == truth[start:end]
    starts, ends = list(range(0, size, 100_003)), [start + 11 for start in range(0, size, 100_003)]
    found = system.cat_ranges([path] * len(starts), starts, ends)
    assert found == [truth[start:end] for start, end in zip(starts, ends, strict=True)]
    good, bad = system.cat_ranges([path, f"{shared.root}/nothing"], 0, 5)
    assert (good, type(bad)) == (truth[:5], FileNotFoundError)
    with pytest.raises(FileNotFoundError):
        system.cat_ranges([path, f"{shared.root}/nothing"], 0, 5, on_error="raise")
    with pytest.raises(IsADirectoryError):
        system.cat_file(f"{shared.root}/deep")


def test_only_reads_that_follow_each_other_read_ahead(shared: Shared, system: ShoalFileSystem) -> None:
    truth, path = (shared.folder / "deep" / "large.bin").read_bytes(), f"{shared.root}/deep/large.bin"
    with system.open(path) as file:
        for at in (2 * MIB, 100, MIB, 50):
            file.seek(at)
            assert file.read(20) == truth[at : at + 20]
        assert file.cache.total_requested_bytes == 80
    with system.open(path) as file:
        whole = b"".join(iter(lambda: file.read(10_000), b""))
        assert whole == truth
        assert file.cache.total_requested_bytes == len(truth)
        assert file.cache.miss_count <= 6
        file.seek(10)
        assert file.read(BLOCK_BYTES * 2) == truth[10 : 10 + BLOCK_BYTES * 2]
    with system.open(f"{shared.root}/deep/empty") as file:
        assert file.read() == b""


def test_writing_is_refused_in_words(shared: Shared, system: ShoalFileSystem) -> None:
    path = f"{shared.root}/new"
    writes: list[Callable[[], Any]] = [
        lambda: system.open(path, "wb"),
        lambda: system.pipe(path, b""),
        lambda: system.put(str(shared.folder / "a1b.csv"), path),
        lambda: system.rm(f"{shared.root}/a1b.csv"),
        lambda: system.mkdir(path),
        lambda: system.makedirs(path),
        lambda: system.touch(path),
        lambda: system.mv(f"{shared.root}/a1b.csv", path),
        lambda: system.copy(f"{shared.root}/a1b.csv", path),
    ]
    for write in writes:
        with pytest.raises(OSError, match=r"never changes.*Peer\.share") as raised:
            write()
        assert raised.value.errno == errno.EROFS


def test_what_is_wrong_is_told_in_words(shared: Shared) -> None:
    system = shared.system(wait_s=1)
    nobody = "b" * 51 + "a"
    for path, error, words in (
        ("shoal://xyz/a", ValueError, "not a share"),
        (f"{shared.root}/../a", FileNotFoundError, "no share|No share"),
        (f"{shared.root}/a%00", FileNotFoundError, "No share"),
        (f"shoal://{nobody}/a", TimeoutError, "Nobody had this for 1 s"),
        (f"shoal://x@{nobody}/a", TimeoutError, "Nobody knew of"),
    ):
        for read in (system.info, system.cat_file):
            with pytest.raises(error, match=words):
                read(path)
    with pytest.raises(FileNotFoundError, match="shoal://, the id of a share"):
        system.ls("shoal://")
    system.close()


def test_a_name_is_followed_once(shared: Shared) -> None:
    answer = shared.owner.run("share", shared.folder, "--json", "--as", "news", "--times").json()
    publisher = shared.owner.run("status", "--json").json()["peer"]
    root = f"shoal://news@{publisher}"
    one = shared.system(answer["pointer"])
    assert one.cat_file(f"{root}/a1b.csv") == b"three"
    assert f"news@{publisher}/a1b.csv" in one.ls(root, detail=False)
    other = make_file(shared.folder.parent / "newer" / "a1b.csv", 10)
    try:
        shared.owner.run("share", other.parent, "--as", "news", "--json")
        pickled = pickle.loads(pickle.dumps(one))
        newer = shared.system(answer["pointer"])
        assert newer.cat_file(f"{root}/a1b.csv") == other.read_bytes()
        for earlier in (one, pickled):
            assert earlier.cat_file(f"{root}/a1b.csv", 1) == b"hree"
        one.invalidate_cache()
        assert one.cat_file(f"{root}/a1b.csv") == other.read_bytes()
        for each in (one, newer, pickled):
            each.close()
    finally:
        shared.owner.run("share", shared.folder, "--json", "--as", "news", "--times")


IN_ANOTHER = "import pickle, sys; s, path = pickle.load(sys.stdin.buffer); print(s.cat_file(path)); s.close()"


def test_it_goes_to_threads_forks_and_other_processes(shared: Shared, system: ShoalFileSystem) -> None:
    path = f"{shared.root}/a1b.csv"
    assert system.cat_file(path) == b"three"
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(system.cat_file, [path] * 40)) == [b"three"] * 40
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.write(writing, system.cat_file(path))
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)
    with os.fdopen(reading, "rb") as said:
        assert said.read() == b"three"
    assert system.cat_file(path) == b"three"  # its connections are its own
    pickled = pickle.dumps((system, path))
    other = subprocess.run([sys.executable, "-c", IN_ANOTHER], input=pickled, capture_output=True, check=False)
    assert (other.stdout, other.stderr) == (b"b'three'\n", b"")


def test_a_peer_is_started_and_one_that_goes_is_told_of(shared: Shared, tmp_path: Path) -> None:
    # What a peer of this process is started with comes from its environment.
    settings = {**OFFLINE, "SHOAL_NETWORK_LAN": "false", "SHOAL_NETWORK_NAME": "test-system"}
    settings["SHOAL_NETWORK_LISTEN"] = "127.0.0.1:0"
    path = f"{shared.root}/deep/large.bin"
    truth = (shared.folder / "deep" / "large.bin").read_bytes()
    home = Peer(tmp_path / "home", environment=OFFLINE)
    with pytest.MonkeyPatch.context() as patch, none_left():
        for name, value in settings.items():
            patch.setenv(name, value)
        system = ShoalFileSystem(home.home, shared.link, skip_instance_cache=True)
        assert system.cat_file(path, 0, 10) == truth[:10]
        system.close()
        with home.node() as node:
            assert system.cat_file(path) == truth
            node.end(signal.SIGKILL)
            assert system.cat_file(path, 10, 20) == truth[10:20]  # by one that was started
        system.close()


def test_a_peer_that_is_killed_midway_is_told_of(tmp_path: Path) -> None:
    home = Peer(tmp_path / "home", environment=OFFLINE)
    failures: list[OSError] = []

    def read() -> None:
        try:
            reader.cat_file(f"shoal://{'b' * 51}a/x")  # nobody has it
        except OSError as error:
            failures.append(error)

    with home.node() as node:
        descriptors = Path(f"/proc/{node.pid}/fd")
        before = len(list(descriptors.iterdir()))
        reader = ShoalFileSystem(home.home, skip_instance_cache=True)
        reading = threading.Thread(target=read)
        reading.start()
        until(lambda: len(list(descriptors.iterdir())) >= before + 2, "its hold and its request")
        node.end(signal.SIGKILL)
        reading.join()
        reader.close()
    (failure,) = failures
    assert isinstance(failure, ConnectionError)
    assert "Read again" in str(failure)


def test_a_file_that_its_owner_changes_is_not_read_as_another(shared: Shared, tmp_path: Path) -> None:
    file = make_file(tmp_path / "changing" / "table.bin", 2 * MIB)
    truth = file.read_bytes()
    answer = shared.owner.run("share", file.parent, "--json").json()
    path = f"shoal://{answer['id']}/table.bin"
    systems = [
        ShoalFileSystem(peer.home, answer["link"], wait_s=1, skip_instance_cache=True)
        for peer in (shared.owner, shared.reader)
    ]
    opened = [system.open(path, cache_type="none") for system in systems]
    assert [one.read(10) for one in opened] == [truth[:10]] * 2
    make_file(file, 2 * MIB, seed=2)
    for one in opened:
        one.seek(MIB)
        with pytest.raises(OSError, match=r"Nobody had this for 1 s|ended the answer midway"):
            one.read(10)
    for system in systems:
        system.close()


def test_many_small_files_are_read_by_few_requests(shared: Shared, tmp_path: Path) -> None:
    folder = tmp_path / "lines"
    folder.mkdir()
    for number in range(500):
        (folder / f"{number:03}, it's.jsonl").write_text(f"line {number}\n" * (number % 7))
    shared_too = shared.owner.run("share", folder, "--json").json()
    system = shared.system(shared_too["link"])
    asked: list[str] = []
    ask = system._connections.ask

    def counted(method: str, target: str, headers: dict[str, str]) -> Any:
        asked.append(method)
        return ask(method, target, headers)

    system._connections.ask = counted
    paths = system.glob(f"shoal://{shared_too['id']}/*.jsonl")
    assert [system.open(path).read().decode() for path in paths] == [f"line {n}\n" * (n % 7) for n in range(500)]
    with system.open(paths[250]) as file:
        file.seek(5)
        assert file.read(3) == b"250"
    assert len(asked) < 20
    system.close()
