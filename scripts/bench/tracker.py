"""Load a tracker over real HTTP on loopback. Run from the top of the repository:

    python -m scripts.bench.tracker                            100,000 and 1,000,000 files, from 10,000 peers
    python -m scripts.bench.tracker --files 20000 --peers 500 --json

The database is filled by the tracker's own store, in this process; then `shoal tracker` is started on it and everything
measured goes through its sockets, from an address of 127.0.0.0/8 for each client. Every file is a share of its own.
Words are drawn by Zipf's law, so that a common one is in most names' company. Latencies are of one client that asks
one thing at a time, a fresh query each; `search` is an even mix of the four. `under load` is the same while others
announce as fast as they can. Clients and tracker share the machine's cores.
"""

import argparse
import itertools
import random
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from typing import Any
from urllib.parse import quote

import trio

from p2p.identity import Identity
from p2p.ids import PeerId, ShareId, from_text, to_text
from p2p.wire.tracker import Announce, Capacity, Listing, key_text, provider_key, sign_announce
from scripts.bench.support.measure import BenchError, Server, serve, status_bytes
from scripts.bench.support.report import MIB, Report, Row, as_json, as_table
from tracker.changes import Said, Taken
from tracker.database import Database
from tracker.limits import Limits
from tracker.store import Store

NETWORK = "bench"
VOCABULARY = 60_000
WORDS_PER_NAME = 6
KINDS = (".mp4", ".mp3", ".zip", ".pdf", ".iso", "")
ANNOUNCERS, SHARES_PER_ANNOUNCE = 200, 100
CLIENTS = 16
REQUESTS_PER_ADDRESS = 400


@dataclass
class Names:
    """Makes names, and queries that fit them."""

    rng: random.Random
    vocabulary: list[str] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        consonants, vowels = "bcdfghjklmnprstvwz", "aeiou"
        syllables = [one + other for one in consonants for other in vowels]
        found = {"".join(self.rng.choices(syllables, k=self.rng.randint(2, 4))) for _ in range(VOCABULARY)}
        self.vocabulary = sorted(found)
        self.rng.shuffle(self.vocabulary)
        self.weights = list(itertools.accumulate(1 / (rank + 2) for rank in range(len(self.vocabulary))))

    def listing(self) -> Listing:
        name = " ".join(self.rng.choices(self.vocabulary, cum_weights=self.weights, k=WORDS_PER_NAME))
        share = to_text(self.rng.randbytes(32))
        return Listing(share, name + self.rng.choice(KINDS), int(self.rng.lognormvariate(17, 3)), 1)

    def queries(self, kind: str, count: int) -> list[str]:
        """Makes queries, all different as far as there are that many."""
        words, pick = self.vocabulary, self.rng.randrange
        match kind:
            case "rare word":
                return [words[pick(5_000, len(words))] for _ in range(count)]
            case "common word":
                return [words[pick(30)] for _ in range(count)]
            case "two words":
                return [f"{words[pick(200)]} {words[pick(2_000)]}" for _ in range(count)]
            case _:
                return [words[pick(20_000)][: pick(2, 6)] for _ in range(count)]


MIX = ("rare word", "common word", "two words", "prefix")


class Client:
    """A connection for as many requests as one address may make at once; the client then takes another address.

    It understands only what the tracker answers.
    """

    _addresses = itertools.count(1)

    def __init__(self, port: int) -> None:
        self._port = port
        self._host = f"127.0.0.1:{port}"
        self._stream: trio.SocketStream | None = None
        self._left = 0
        self._buffer = b""

    async def get(self, path: str) -> bytes:
        return await self._ask(f"GET {path} HTTP/1.1\r\nhost: {self._host}\r\n\r\n".encode())

    async def post(self, path: str, body: bytes, headers: dict[str, str]) -> bytes:
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = f"POST {path} HTTP/1.1\r\nhost: {self._host}\r\ncontent-length: {len(body)}\r\n{lines}\r\n"
        return await self._ask(head.encode() + body)

    async def close(self) -> None:
        if self._stream is not None:
            await self._stream.aclose()

    async def _ask(self, request: bytes) -> bytes:
        if self._stream is None or not self._left:
            await self.close()
            self._stream = await self._connect()
        self._left -= 1
        await self._stream.send_all(request)
        while b"\r\n\r\n" not in self._buffer:
            await self._more(self._stream)
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        while len(self._buffer) < length:
            await self._more(self._stream)
        body, self._buffer = self._buffer[:length], self._buffer[length:]
        if not head.startswith(b"HTTP/1.1 200"):
            raise BenchError(f"refused: {head!r} {body[:300]!r}")
        return body

    async def _connect(self) -> trio.SocketStream:
        number = next(self._addresses)
        connection = trio.socket.socket()
        await connection.bind((f"127.1.{number // 250 % 250}.{number % 250 + 1}", 0))
        await connection.connect(("127.0.0.1", self._port))
        self._left = REQUESTS_PER_ADDRESS
        return trio.SocketStream(connection)

    async def _more(self, stream: trio.SocketStream) -> None:
        some = await stream.receive_some(65536)
        if not some:
            raise BenchError("the tracker has hung up")
        self._buffer += some


def fill(path: Path, names: Names, files: int, peers: int) -> list[str]:
    """Announces this many files by this many peers into a new database; returns some of their provider keys."""
    keys: list[str] = []
    now = time.time()
    with Database(path) as database:
        store = Store(database, Limits())
        each = max(1, files // peers)
        for number in range(peers):
            listings = tuple(names.listing() for _ in range(each))
            capacity = Capacity(("wasm",), 4, 2 << 30) if number % 4 == 0 else None
            announce = Announce("http://x", NETWORK, 1, reset=True, expires_s=86400, add=listings, capacity=capacity)
            host = f"127.{100 + number // 60000}.{number // 250 % 240}.{number % 250 + 1}"
            [taken] = store.take_in([Said(PeerId(names.rng.randbytes(32)), announce, host, host)], now)
            if not isinstance(taken, Taken) or taken.refused:
                raise BenchError(f"not taken in: {taken}")
            if number % max(1, peers // 500) == 0:
                keys.append(key_text(provider_key(_share(listings[0]))))
    return keys


def _share(listing: Listing) -> ShareId:
    return ShareId(from_text(listing.share))


@dataclass(frozen=True)
class Settings:
    files: int
    peers: int
    queries: int
    rounds: int


async def measure(server: Server, names: Names, keys: list[str], settings: Settings) -> Report:
    """Measures all the figures, through the tracker's sockets."""
    port = int(server.first_line(120).rpartition(":")[2])
    report = Report("tracker", f"{settings.files:,} files of {settings.peers:,} peers")
    client = Client(port)
    report.rows += await _latencies(client, names, settings.queries)
    changes, busy, asked = [], [], []
    for _ in range(settings.rounds):
        prepared = list(_announces(port, names))
        latencies: list[float] = []
        started = time.perf_counter()
        async with trio.open_nursery() as nursery:  # `client` is cut off in the middle of an answer
            watcher = trio.CancelScope()
            nursery.start_soon(_search_on, client, names, latencies, watcher)
            await _at_once(port, prepared, _announce)
            changes.append(ANNOUNCERS * SHARES_PER_ANNOUNCE / (time.perf_counter() - started))
            watcher.cancel()
        await client.close()
        client = Client(port)
        busy.append(1000 * quantiles(latencies, n=100)[98] if len(latencies) > 2 else max(latencies) * 1000)
        paths = list(_requests(names, keys, settings.queries))
        started = time.perf_counter()
        await _at_once(port, paths, Client.get)
        asked.append(len(paths) / (time.perf_counter() - started))
    await client.close()
    report.rows += [
        Row("search p99 under load", "ms", busy),
        Row("share changes", "1/s", changes),
        Row("requests", "1/s", asked),
        Row("memory (RSS)", "MiB", [status_bytes(server.pid, "VmRSS") / MIB]),
        Row("memory (peak RSS)", "MiB", [status_bytes(server.pid, "VmHWM") / MIB]),
    ]
    return report


async def _latencies(client: Client, names: Names, count: int) -> list[Row]:
    rows = []
    everything: list[float] = []
    for kind in MIX:
        times = []
        for query in names.queries(kind, count):
            started = time.perf_counter()
            await client.get(f"/api/v1/search?q={quote(query)}")
            times.append(1000 * (time.perf_counter() - started))
        rows += _percentiles(kind, times)
        everything += times
    return rows + _percentiles("search", everything)


def _percentiles(name: str, times: list[float]) -> list[Row]:
    return [Row(f"{name} p50", "ms", [median(times)]), Row(f"{name} p99", "ms", [quantiles(times, n=100)[98]])]


async def _search_on(client: Client, names: Names, latencies: list[float], scope: trio.CancelScope) -> None:
    with scope:
        while True:
            for kind in MIX:
                [query] = names.queries(kind, 1)
                started = time.perf_counter()
                await client.get(f"/api/v1/search?q={quote(query)}")
                latencies.append(time.perf_counter() - started)


def _announces(port: int, names: Names) -> Iterator[tuple[bytes, dict[str, str]]]:
    """Signed announces of new peers. What a peer does before sending does not count as the tracker's time."""
    for _ in range(ANNOUNCERS):
        add = tuple(names.listing() for _ in range(SHARES_PER_ANNOUNCE))
        announce = Announce(f"http://127.0.0.1:{port}", NETWORK, 1, reset=True, add=add)
        yield sign_announce(announce, Identity.generate())


async def _announce(client: Client, announce: tuple[bytes, dict[str, str]]) -> bytes:
    return await client.post("/api/v1/announce", *announce)


def _requests(names: Names, keys: list[str], count: int) -> Iterator[str]:
    for number in range(count * 4):
        match number % 4:
            case 0:
                [query] = names.queries(names.rng.choice(MIX), 1)
                yield f"/api/v1/search?q={quote(query)}&limit=20"
            case 1 | 2:
                yield f"/api/v1/sources/{names.rng.choice(keys)}"
            case _:
                yield "/api/v1/statistics?hours=1"


async def _at_once(port: int, work: list[Any], do: Callable[[Client, Any], Awaitable[bytes]]) -> None:
    """Does the work over several connections at once."""
    left = iter(work)

    async def one() -> None:
        client = Client(port)
        for item in left:
            await do(client, item)
        await client.close()

    async with trio.open_nursery() as nursery:
        for _ in range(CLIENTS):
            nursery.start_soon(one)


def run(settings: Settings) -> Report:
    """Measures one size, from an empty folder."""
    names = Names(random.Random(7))
    with tempfile.TemporaryDirectory(prefix="shoal-bench-tracker-") as folder:
        home = Path(folder)
        started = time.perf_counter()
        keys = fill(home / "tracker.db", names, settings.files, settings.peers)
        filled_s = time.perf_counter() - started
        command = [str(Path(sys.executable).with_name("shoal")), "--home", folder, "tracker"]
        with serve([*command, "--listen", "127.0.0.1:0", "--network", NETWORK], home / "log") as server:
            report = trio.run(partial(measure, server, names, keys, settings))
        size = (home / "tracker.db").stat().st_size
    report.rows.append(Row("filled directly", "1/s", [settings.files / filled_s]))
    report.rows.append(Row("database", "MiB", [size / MIB]))
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, action="append", help="repeatable; 100000 and 1000000")
    parser.add_argument("--peers", type=int, default=10_000)
    parser.add_argument("--queries", type=int, default=500, help="of each kind")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="one line for each size")
    asked = parser.parse_args()
    for files in asked.files or [100_000, 1_000_000]:
        report = run(Settings(files, min(asked.peers, files), asked.queries, asked.rounds))
        print(as_json(report) if asked.json else as_table(report), flush=True)


if __name__ == "__main__":
    main()
