"""The BitTorrent half: its words, its bounds, and two copies of a real client that meet through it."""

import hashlib
import random
import shutil
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any
from urllib.parse import quote

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.errors import MalformedMessage
from tests.support.constants import Shorten
from tests.support.processes import Peer, until
from tracker.torrents import bittorrent, swarms
from tracker.torrents.bencode import bencode
from tracker.torrents.bittorrent import Asked, Torrents, read_announce, read_scrape

HASH, OTHER = b"h" * 20, b"o" * 20


def asked(port: int = 6881, *, left: int = 1, event: str = "", info_hash: bytes = HASH, **said: bool | int) -> Asked:
    usual = {"numwant": 50, "compact": True, "with_ids": True} | said
    return Asked(
        info_hash,
        b"p" * 20,
        port,
        left,
        event,
        int(usual["numwant"]),
        bool(usual["compact"]),
        bool(usual["with_ids"]),
    )


def field(answer: bytes, name: bytes) -> bytes:
    """A byte string of a bencoded dictionary."""
    length, _, rest = answer.partition(b"%d:%b" % (len(name), name))[2].partition(b":")
    return rest[: int(length)]


def told(answer: bytes) -> set[tuple[str, int]]:
    compact = field(answer, b"peers")
    pieces = [compact[at : at + 6] for at in range(0, len(compact), 6)]
    return {(socket.inet_ntoa(piece[:4]), int.from_bytes(piece[4:], "big")) for piece in pieces}


def test_members_of_a_swarm_are_told_of_each_other() -> None:
    torrents = Torrents(Random(1))
    assert told(torrents.announce(asked(1), "192.0.2.1", 0.0)) == set()
    assert told(torrents.announce(asked(2), "192.0.2.2", 0.0)) == {("192.0.2.1", 1)}
    assert told(torrents.announce(asked(3, info_hash=OTHER), "192.0.2.3", 0.0)) == set()
    assert told(torrents.announce(asked(1), "192.0.2.1", 0.0)) == {("192.0.2.2", 2)}
    assert torrents.figures(0.0) == (2, 3)


def test_seeds_are_of_no_use_to_seeds() -> None:
    torrents = Torrents(Random(1))
    torrents.announce(asked(1, left=0), "192.0.2.1", 0.0)
    assert told(torrents.announce(asked(2, left=0), "192.0.2.2", 0.0)) == set()
    answer = torrents.announce(asked(3), "192.0.2.3", 0.0)
    assert told(answer) == {("192.0.2.1", 1), ("192.0.2.2", 2)}
    assert b"8:completei2e" in answer
    assert b"10:incompletei1e" in answer


def test_a_member_leaves_or_is_forgotten() -> None:
    torrents = Torrents(Random(1))
    torrents.announce(asked(1), "192.0.2.1", 0.0)
    torrents.announce(asked(2), "192.0.2.2", 10.0)
    torrents.announce(asked(1, event="stopped"), "192.0.2.1", 10.0)
    torrents.announce(asked(1, event="stopped"), "192.0.2.1", 10.0)
    assert torrents.figures(0.0) == (1, 1)
    assert told(torrents.announce(asked(3), "192.0.2.3", bittorrent.EXPIRES_S + 9.0)) == {("192.0.2.2", 2)}
    assert told(torrents.announce(asked(3), "192.0.2.3", bittorrent.EXPIRES_S + 10.0)) == set()
    assert torrents.figures(1e9) == (0, 0)


def test_ipv6_has_a_field_of_its_own() -> None:
    torrents = Torrents(Random(1))
    torrents.announce(asked(1), "2001:db8::1", 0.0)
    torrents.announce(asked(2), "::ffff:192.0.2.2", 0.0)
    answer = torrents.announce(asked(3), "192.0.2.3", 0.0)
    assert told(answer) == {("192.0.2.2", 2)}
    assert field(answer, b"peers6") == socket.inet_pton(socket.AF_INET6, "2001:db8::1") + b"\x00\x01"


def test_private_addresses_are_not_told_to_strangers() -> None:
    torrents = Torrents(Random(1))
    torrents.announce(asked(1), "192.168.1.5", 0.0)
    torrents.announce(asked(2), "127.0.0.1", 0.0)
    torrents.announce(asked(3), "8.8.8.8", 0.0)
    assert told(torrents.announce(asked(4), "9.9.9.9", 0.0)) == {("8.8.8.8", 3)}
    assert told(torrents.announce(asked(5), "192.168.1.6", 0.0)) == {
        ("192.168.1.5", 1),
        ("8.8.8.8", 3),
        ("9.9.9.9", 4),
    }


def test_a_member_in_the_trackers_own_network_is_told_by_its_public_address() -> None:
    torrents = Torrents(Random(1), outside=["9.9.9.1", "2600::1"])
    torrents.announce(asked(1), "192.168.1.5", 0.0)
    torrents.announce(asked(2), "127.0.0.1", 0.0)
    torrents.announce(asked(3), "fd00::5", 0.0)
    outside = torrents.announce(asked(4), "9.9.9.9", 0.0)
    assert told(outside) == {("9.9.9.1", 1)}
    assert field(outside, b"peers6") == socket.inet_pton(socket.AF_INET6, "2600::1") + b"\x00\x03"
    assert told(torrents.announce(asked(5), "192.168.1.6", 0.0)) == {("192.168.1.5", 1), ("9.9.9.9", 4)}


def test_an_answer_in_full() -> None:
    torrents = Torrents(Random(1))
    torrents.announce(asked(1), "192.0.2.1", 0.0)
    answer = torrents.announce(asked(2, compact=False), "192.0.2.2", 0.0)
    assert b"5:peersld2:ip9:192.0.2.17:peer id20:" + b"p" * 20 + b"4:porti1eee" in answer
    answer = torrents.announce(asked(2, compact=False, with_ids=False), "192.0.2.2", 0.0)
    assert b"5:peersld2:ip9:192.0.2.14:porti1eee" in answer


def test_no_more_are_told_than_were_asked_for() -> None:
    torrents = Torrents(Random(1))
    for port in range(1, 100):
        torrents.announce(asked(port), "192.0.2.1", 0.0)
    assert len(told(torrents.announce(asked(500, numwant=7), "192.0.2.2", 0.0))) == 7
    assert told(torrents.announce(asked(500, numwant=0), "192.0.2.2", 0.0)) == set()


def test_whoever_finds_no_place_is_told_of_others(shorten: Shorten) -> None:
    shorten(swarms, "MAX_PER_ADDRESS", 2)
    torrents = Torrents(Random(1))
    for port in (1, 2):
        assert b"warning" not in torrents.announce(asked(port), "192.0.2.1", 0.0)
    answer = torrents.announce(asked(3), "192.0.2.1", 0.0)
    assert b"15:warning message" in answer
    assert told(answer) == {("192.0.2.1", 1), ("192.0.2.1", 2)}
    assert torrents.figures(0.0) == (1, 2)
    elsewhere = torrents.announce(asked(3, info_hash=OTHER), "192.0.2.1", 0.0)
    assert b"15:warning message" in elsewhere
    assert torrents.figures(0.0) == (1, 2)


def test_an_announce_takes_as_long_in_a_large_swarm_as_in_a_small_one() -> None:
    """One walked the whole swarm: with 5,000 in it, 360 announces a second took a core."""
    torrents = Torrents(Random(1))
    calls = []
    for number in range(900):
        host = f"10.{number % 200}.{number // 200}.1"
        query = f"info_hash={'h' * 20}&peer_id={'p' * 20}&port=1&left={number % 2}".encode()
        if number % 300 == 299:
            with counted_lines() as count:
                torrents.announce(read_announce(query, host), host, 0.0)
            calls.append(count.total())
        else:
            torrents.announce(read_announce(query, host), host, 0.0)
    assert max(calls) < 1.2 * calls[0]


@contextmanager
def counted_lines() -> "Iterator[Counter[str]]":
    """Counts the lines of Python that the body executes, also in comprehensions and in what it calls."""
    count: Counter[str] = Counter()

    def trace(frame: FrameType, event: str, _: object) -> Callable[..., Any] | None:
        count[event] += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield count
    finally:
        sys.settrace(before)


def test_scraping() -> None:
    torrents = Torrents(Random(1))
    torrents.announce(asked(1, left=5), "192.0.2.1", 0.0)
    torrents.announce(asked(1, left=0, event="completed"), "192.0.2.1", 0.0)
    torrents.announce(asked(1, left=0, event="completed"), "192.0.2.1", 0.0)  # said twice
    torrents.announce(asked(2, left=5), "192.0.2.1", 0.0)
    answer = torrents.scrape([HASH, OTHER], 0.0)
    assert answer == (
        b"d5:filesd"
        b"20:" + HASH + b"d8:completei1e10:downloadedi1e10:incompletei1ee"
        b"20:" + OTHER + b"d8:completei0e10:downloadedi0e10:incompletei0ee"
        b"ee"
    )


hashes = st.binary(min_size=20, max_size=20)


@given(hashes, hashes, st.integers(1, 65535), st.integers(0, 2**62))
def test_an_announce_is_read_as_it_was_written(info_hash: bytes, peer: bytes, port: int, left: int) -> None:
    query = f"info_hash={quote(info_hash)}&peer_id={quote(peer)}&port={port}&left={left}&numwant=-1&ip=10.0.0.1"
    said = read_announce(query.encode(), "192.0.2.1")
    assert (said.info_hash, said.peer_id, said.port, said.left, said.numwant) == (info_hash, peer, port, left, 50)


@given(st.binary(max_size=300))
def test_random_queries_are_malformed_at_worst(query: bytes) -> None:
    for read in (lambda: read_announce(query, "192.0.2.1"), lambda: read_scrape(query)):
        with pytest.raises(MalformedMessage):
            read()


@pytest.mark.parametrize(
    "query",
    [
        f"info_hash={'h' * 19}&peer_id={'p' * 20}&port=1",
        f"info_hash={'h' * 20}&peer_id={'p' * 21}&port=1",
        f"info_hash={'h' * 20}&peer_id={'p' * 20}",
        f"info_hash={'h' * 20}&peer_id={'p' * 20}&port=0",
        f"info_hash={'h' * 20}&peer_id={'p' * 20}&port=1&" + "x" * 10_000,
    ],
)
def test_what_is_no_announce(query: str) -> None:
    with pytest.raises(MalformedMessage):
        read_announce(query.encode(), "192.0.2.1")


def test_too_many_scraped() -> None:
    with pytest.raises(MalformedMessage, match="at most"):
        read_scrape(b"&".join([b"info_hash=" + HASH] * 65))


@given(st.recursive(st.integers() | st.binary(max_size=20), lambda inner: st.lists(inner, max_size=4), max_leaves=10))
def test_bencoding_has_the_length_it_says(value: object) -> None:
    assert bencode({b"b": 1, b"a": value}).startswith(b"d1:a")  # type: ignore[dict-item]


@contextmanager
def client(folder: Path, torrent: Path, *options: str) -> "Iterator[subprocess.Popen[bytes]]":
    """aria2c on the torrent, with nothing but the tracker to find others by."""
    command = [
        "aria2c",
        f"--dir={folder}",
        "--enable-dht=false",
        "--enable-dht6=false",
        "--bt-enable-lpd=false",
        "--enable-peer-exchange=false",
        "--disable-ipv6=true",
        "--no-conf=true",
        "--quiet=true",
        "--allow-overwrite=true",
        *options,
        str(torrent),
    ]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("aria2c") is None, reason="no BitTorrent client here")
def test_two_clients_meet_through_it(tmp_path: Path) -> None:
    seed, fetched = tmp_path / "seed", tmp_path / "fetched"
    seed.mkdir()
    content = random.Random(1).randbytes(300_000)
    (seed / "data.bin").write_bytes(content)
    pieces = b"".join(hashlib.sha1(content[at : at + 65536]).digest() for at in range(0, len(content), 65536))
    info = bencode({b"length": len(content), b"name": b"data.bin", b"piece length": 65536, b"pieces": pieces})
    info_hash = hashlib.sha1(info).digest()
    peer = Peer(tmp_path / "home")
    with peer.start("tracker", "--listen", "127.0.0.1:0") as tracker:
        url = tracker.line().removeprefix("ready ")
        torrent = tmp_path / "data.torrent"
        announce = f"{url}/announce".encode()
        torrent.write_bytes(b"d8:announce" + bencode(announce) + b"4:info" + info + b"e")

        def seeded() -> bool:
            answer = httpx2.get(f"{url}/scrape?info_hash={quote(info_hash)}", trust_env=False).content
            return b"8:completei1e" in answer

        with client(seed, torrent, "--check-integrity=true", "--seed-ratio=0"):
            until(seeded, "the seed's announce")
            with client(fetched, torrent, "--seed-time=0") as fetching:
                assert fetching.wait(30) == 0
        assert (fetched / "data.bin").read_bytes() == content
        assert tracker.end().code == 0
