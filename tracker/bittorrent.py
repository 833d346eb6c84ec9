"""A tracker for any BitTorrent client: `/announce` (BEP 3, 7, 23) and `/scrape` (BEP 48), in memory.

A client is known by the address that its request came from and the port that it names; anything else that it says about
its address is ignored, so nobody can send a swarm to a third party. All memory is bounded; all entries expire, and are
lost at a restart, after which clients announce again by themselves.
"""

import socket
from collections import Counter, OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from random import Random
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from p2p.errors import MalformedMessage, Refused
from p2p.wire.address import Scope, canonical, ip, scope
from tracker.bencode import Value, bencode
from tracker.limits import subject

INTERVAL_S, MIN_INTERVAL_S = 900, 60
EXPIRES_S = 2 * INTERVAL_S + 300
MAX_MEMBERS = 200_000
MAX_PER_SWARM = 5_000
MAX_PER_ADDRESS = 2_000
MAX_TOLD, DEFAULT_TOLD = 200, 50
MAX_SCRAPED = 64
MAX_QUERY_CHARS = 8192
HASH_BYTES = 20
MAX_LEFT = 2**63 - 1


@dataclass(frozen=True)
class Asked:
    """An announce of a BitTorrent client. `left` is how many bytes the client lacks."""

    info_hash: bytes
    peer_id: bytes
    port: int
    left: int
    event: str
    numwant: int
    compact: bool
    with_ids: bool


class _Place(NamedTuple):
    """Where a client can be dialled, as others are told."""

    host: str
    port: int

    @property
    def packed(self) -> bytes:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        return socket.inet_pton(family, self.host) + self.port.to_bytes(2, "big")


@dataclass
class _Member:
    place: _Place
    outside: _Place | None
    """Where it can be dialled from outside its private network; None if nowhere that is known."""
    peer_id: bytes
    scope: int
    address: str
    seeds: bool = False
    until: float = 0.0

    def seen_from(self, scope: int) -> _Place | None:
        """Where a client whose address is of this scope can dial this one."""
        return self.place if self.scope >= scope else self.outside


_Key = tuple[bytes, str, int]


class Torrents:
    """All BitTorrent swarms and their members. They are never written to disk.

    `outside` are public addresses, at most one for each of IPv4 and IPv6, behind which the machines of this tracker's
    private network are reached, at the same ports.
    """

    def __init__(self, rng: Random | None = None, outside: Iterable[str] = ()) -> None:
        self._random = rng or Random()
        self._outside = {":" in host: host for host in outside}
        self._swarms: dict[bytes, dict[tuple[str, int], _Member]] = {}
        self._completed: Counter[bytes] = Counter()
        self._by_age: OrderedDict[_Key, None] = OrderedDict()
        self._of_address: Counter[str] = Counter()

    @property
    def figures(self) -> tuple[int, int]:
        """The number of torrents, and the number of peers in them."""
        return len(self._swarms), len(self._by_age)

    def announce(self, asked: Asked, host: str, now: float) -> bytes:
        """Takes an announce and returns the bencoded answer. Raises Refused."""
        self.expire(now)
        host = canonical(host)
        key = (asked.info_hash, host, asked.port)
        member = self._swarms.get(asked.info_hash, {}).get((host, asked.port))
        if asked.event == "stopped":
            if member is not None:
                self._forget(key)
            return self._answer(asked, host, [])
        if member is None:
            member = self._welcome(key, asked.peer_id)
        if asked.left == 0 and not member.seeds and asked.event == "completed":
            self._completed[asked.info_hash] += 1
        member.seeds = asked.left == 0
        member.peer_id = asked.peer_id
        member.until = now + EXPIRES_S
        self._by_age[key] = None
        self._by_age.move_to_end(key)
        others = [
            (place, other.peer_id)
            for other in self._swarms[asked.info_hash].values()
            # A client that has everything has no use for others that do.
            if other is not member and not (member.seeds and other.seeds)
            if (place := other.seen_from(member.scope)) is not None
        ]
        return self._answer(asked, host, self._random.sample(others, min(asked.numwant, len(others))))

    def scrape(self, hashes: Iterable[bytes], now: float) -> bytes:
        """Returns the number of clients in each of these swarms, bencoded."""
        self.expire(now)
        files: dict[bytes, Value] = {}
        for info_hash in hashes:
            seeds, leeches = self._count(info_hash)
            files[info_hash] = {
                b"complete": seeds,
                b"incomplete": leeches,
                b"downloaded": self._completed[info_hash],
            }
        return bencode({b"files": files})

    def expire(self, now: float) -> None:
        """Forgets clients that have not announced for a long time."""
        while self._by_age:
            info_hash, host, port = key = next(iter(self._by_age))
            if self._swarms[info_hash][host, port].until > now:
                return
            self._forget(key)

    def _welcome(self, key: _Key, peer_id: bytes) -> _Member:
        info_hash, host, port = key
        address = subject(host)
        if self._of_address[address] >= MAX_PER_ADDRESS:
            raise Refused("too many torrents are announced from this address already")
        if len(self._swarms.get(info_hash, ())) >= MAX_PER_SWARM:
            raise Refused("this swarm already has as many peers as this tracker keeps")
        if len(self._by_age) >= MAX_MEMBERS:
            self._forget(next(iter(self._by_age)))
        public = self._outside.get(":" in host) if scope(host) == Scope.PRIVATE else None
        outside = None if public is None else _Place(public, port)
        member = _Member(_Place(host, port), outside, peer_id, scope(host), address)
        self._swarms.setdefault(info_hash, {})[host, port] = member
        self._of_address[address] += 1
        return member

    def _forget(self, key: _Key) -> None:
        info_hash, host, port = key
        del self._by_age[key]
        swarm = self._swarms[info_hash]
        address = swarm.pop((host, port)).address
        self._of_address[address] -= 1
        if not self._of_address[address]:
            del self._of_address[address]
        if not swarm:
            del self._swarms[info_hash]
            self._completed.pop(info_hash, None)

    def _count(self, info_hash: bytes) -> tuple[int, int]:
        swarm = self._swarms.get(info_hash, {})
        seeds = sum(member.seeds for member in swarm.values())
        return seeds, len(swarm) - seeds

    def _answer(self, asked: Asked, host: str, told: list[tuple[_Place, bytes]]) -> bytes:
        seeds, leeches = self._count(asked.info_hash)
        answer: dict[bytes, Value] = {
            b"interval": INTERVAL_S,
            b"min interval": MIN_INTERVAL_S,
            b"complete": seeds,
            b"incomplete": leeches,
        }
        if asked.compact:
            answer[b"peers"] = b"".join(place.packed for place, _ in told if ":" not in place.host)
            answer[b"peers6"] = b"".join(place.packed for place, _ in told if ":" in place.host)
        else:
            answer[b"peers"] = [_as_dict(place, peer_id, asked.with_ids) for place, peer_id in told]
        return bencode(answer)


def _as_dict(place: _Place, peer_id: bytes, with_id: bool) -> dict[bytes, Value]:
    shown: dict[bytes, Value] = {b"ip": place.host, b"port": place.port}
    return shown | {b"peer id": peer_id} if with_id else shown


def failure(reason: str) -> bytes:
    """Makes a bencoded refusal."""
    return bencode({b"failure reason": reason})


def read_announce(query: bytes, host: str) -> Asked:
    """Reads the announce in the query string of a request from `host`. Raises MalformedMessage."""
    said = dict(reversed(_fields(query)))
    if ip(host) is None:
        raise MalformedMessage("no IP address to announce")
    peer_id = said.get(b"peer_id", b"")
    if len(peer_id) != 20:
        raise MalformedMessage("peer_id must have 20 bytes")
    port = _number(said, b"port", 0, 65535)
    if port == 0:
        raise MalformedMessage("port must be from 1 to 65535")
    return Asked(
        info_hash=_hash(said.get(b"info_hash", b"")),
        peer_id=peer_id,
        port=port,
        left=_number(said, b"left", MAX_LEFT, MAX_LEFT),
        event=said.get(b"event", b"").decode("ascii", "replace"),
        numwant=_number(said, b"numwant", DEFAULT_TOLD, MAX_TOLD),
        compact=said.get(b"compact") != b"0",
        with_ids=said.get(b"no_peer_id", b"0") == b"0",
    )


def read_scrape(query: bytes) -> list[bytes]:
    """Reads the info hashes that a scrape asks for. Raises MalformedMessage."""
    hashes = [_hash(value) for name, value in _fields(query) if name == b"info_hash"]
    if not hashes:
        raise MalformedMessage("name the torrents by info_hash; this tracker does not list all of them")
    if len(hashes) > MAX_SCRAPED:
        raise MalformedMessage(f"at most {MAX_SCRAPED} torrents at once")
    return hashes


def _fields(query: bytes) -> list[tuple[bytes, bytes]]:
    if len(query) > MAX_QUERY_CHARS:
        raise MalformedMessage("the query is too long")
    pairs = (field.partition(b"=") for field in query.split(b"&") if field)
    return [(unquote_to_bytes(name), unquote_to_bytes(value)) for name, _, value in pairs]


def _hash(value: bytes) -> bytes:
    if len(value) != HASH_BYTES:
        raise MalformedMessage(f"info_hash must have {HASH_BYTES} bytes")
    return value


def _number(said: dict[bytes, bytes], name: bytes, usual: int, most: int) -> int:
    """Reads a number from the query; a negative one, which some clients send, means the default."""
    text = said.get(name, b"")
    if not text.isdigit() or len(text) > 19:
        return min(usual, most)
    return min(int(text), most)
