"""A tracker for any BitTorrent client: `/announce` (BEP 3, 7, 23) and `/scrape` (BEP 48), in memory.

A client is known by the address that its request came from and the port that it names; anything else that it says about
its address is ignored, so nobody can send a swarm to a third party. One that finds no place in its swarm (`swarms`) is
told of others all the same. After a restart, clients announce again by themselves.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from random import Random
from urllib.parse import unquote_to_bytes

from p2p.errors import MalformedMessage
from p2p.wire.address import canonical, ip, scope
from tracker.torrents.bencode import Value, bencode
from tracker.torrents.swarms import Member, Place, Swarm, Swarms, place_at

INTERVAL_S, MIN_INTERVAL_S = 900, 60
EXPIRES_S = 2 * INTERVAL_S + 300
MAX_TOLD, DEFAULT_TOLD = 200, 50
MAX_SCRAPED = 64
MAX_QUERY_CHARS = 8192
HASH_BYTES = 20
MAX_LEFT = 2**63 - 1
NO_PLACE = (
    "This tracker has no place for you in this swarm now: others are not told of you. Add another tracker, or seed "
    "fewer torrents from this address."
)


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


class Torrents:
    """Answers BitTorrent clients. `outside` is as in `Swarms`."""

    def __init__(self, rng: Random | None = None, outside: Iterable[str] = ()) -> None:
        self._random = rng or Random()
        self._swarms = Swarms(outside)

    def figures(self, now: float) -> tuple[int, int]:
        """The number of torrents, and the number of peers in them."""
        self._swarms.expire(now)
        return self._swarms.figures

    def announce(self, asked: Asked, host: str, now: float) -> bytes:
        """Takes an announce and returns the bencoded answer."""
        self._swarms.expire(now)
        place = place_at(canonical(host), asked.port)
        if asked.event == "stopped":
            self._swarms.leave(asked.info_hash, place)
            return _answer(asked, self._swarms.swarm(asked.info_hash), [])
        seeds = asked.left == 0
        had = self._swarms.swarm(asked.info_hash).seeds
        member = self._swarms.keep(asked.info_hash, place, asked.peer_id, seeds=seeds, until=now + EXPIRES_S)
        swarm = self._swarms.swarm(asked.info_hash) if member is None else member.swarm
        of = scope(place.host) if member is None else member.scope
        if asked.event == "completed" and swarm.seeds > had:
            swarm.completed += 1
        found = swarm.sample(of, asked.numwant + 1, self._random, seeds=seeds)
        others = [other for other in found if other is not member][: asked.numwant]
        return _answer(asked, swarm, [(other.seen_from(of), other) for other in others], has_place=member is not None)

    def scrape(self, hashes: Iterable[bytes], now: float) -> bytes:
        """Returns the number of clients in each of these swarms, bencoded."""
        self._swarms.expire(now)
        files: dict[bytes, Value] = {}
        for info_hash in hashes:
            swarm = self._swarms.swarm(info_hash)
            files[info_hash] = {
                b"complete": swarm.seeds,
                b"incomplete": swarm.leeches,
                b"downloaded": swarm.completed,
            }
        return bencode({b"files": files})


def _answer(asked: Asked, swarm: Swarm, told: list[tuple[Place, Member]], *, has_place: bool = True) -> bytes:
    answer: dict[bytes, Value] = {
        b"interval": INTERVAL_S,
        b"min interval": MIN_INTERVAL_S,
        b"complete": swarm.seeds,
        b"incomplete": swarm.leeches,
    }
    if not has_place:
        answer[b"warning message"] = NO_PLACE
    if asked.compact:
        answer[b"peers"] = b"".join(place.packed for place, _ in told if ":" not in place.host)
        answer[b"peers6"] = b"".join(place.packed for place, _ in told if ":" in place.host)
    else:
        answer[b"peers"] = [_as_dict(place, other.peer_id, asked.with_ids) for place, other in told]
    return bencode(answer)


def _as_dict(place: Place, peer_id: bytes, with_id: bool) -> dict[bytes, Value]:
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
