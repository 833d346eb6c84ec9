"""One of everything that a peer and a tracker say to each other, as it was recorded.

Recorded by `python -m tests.golden.test_tracker FOLDER`; an entry that is there is never changed.
"""

import sys
from pathlib import Path
from typing import Any

import msgspec

from p2p import ids
from p2p.ids import ShareId
from p2p.wire import tracker
from p2p.wire.tracker import Announce
from tests.support.recordings import SIGNER, left_out, load, samples, save

TRACKER = "messages_tracker.json"
A = bytes(range(32))
ID, PEER, ADDRESS = ids.to_text(A), ids.to_text(SIGNER.peer_id), "[2001:db8::1]:7474"
KEY = tracker.key_text(tracker.provider_key(ShareId(A)))
CONTENT = tracker.Content(path="a/ü.txt", size=2**40)
CAPACITY = tracker.Capacity(
    ("python-wasm",), cores=3, memory=1 << 29, gpu="none", policy="mine", load=0.25, unit_s=1800.5
)
SOURCE = tracker.Source(peer=PEER, whole=True, age_s=5, dialable=True, address=ADDRESS)
FOUND = tracker.Found(
    share=ID,
    name="Bücher",
    size=2**52,
    files=12,
    kind=tracker.Kind.DOCUMENT,
    sources=3,
    age_s=60,
    signer=PEER,
    link=f"magnet:?xt=urn:shoal:{ID}",
    matched="a/ü.txt",
)
MOMENT = tracker.Moment(time=1_700_000_000.5, peers=1, shares=2, bytes=3, cores=4)
ANNOUNCE = Announce(
    tracker="http://tracker.example:8750",
    network="golden",
    sequence=12,
    previous=11,
    reset=True,
    expires_s=1800,
    bye=True,
    port=7474,
    add=(tracker.Listing(share=ID, name="Bücher", size=9, files=2, contents=(CONTENT,), whole=False),),
    provide=(tracker.Provided(key=KEY, whole=False),),
    drop=(KEY,),
    capacity=CAPACITY,
)
SAID: dict[str, msgspec.Struct] = {
    "POST announce": ANNOUNCE,
    "listing": ANNOUNCE.add[0],
    "provided": ANNOUNCE.provide[0],
    "capacity": CAPACITY,
    "problem": tracker.Problem(error="start over", sequence=7),
    "announced": tracker.Announced(
        sequence=12,
        interval_s=600,
        seen_host="2001:db8::1",
        dialable=False,
        shares=3,
        refused=("too many",),
        wanted=(tracker.Wanted(key=KEY, peer=PEER, address=ADDRESS),),
    ),
    "source": SOURCE,
    "GET sources": tracker.SourcesAnswer(sources=(SOURCE,), total=3),
    "found": FOUND,
    "GET search": tracker.SearchAnswer(results=(FOUND,), total=4, partial=True, cursor="more"),
    "GET shares": tracker.ShareView(found=FOUND, contents=(CONTENT,), sources=(SOURCE,)),
    "GET peers": tracker.PeerView(
        peer=PEER,
        dialable=True,
        age_s=1,
        known_s=2,
        shares=(FOUND,),
        total=3,
        bytes=4,
        capacity=CAPACITY,
        cursor="more",
    ),
    "GET volunteers": tracker.VolunteersAnswer(
        volunteers=(tracker.Volunteer(peer=PEER, capacity=CAPACITY, dialable=True, age_s=4, address=ADDRESS),),
        total=2,
        cursor="more",
    ),
    "GET statistics": tracker.Statistics(
        now=MOMENT, volunteers=5, dialable=6, torrents=7, torrent_peers=8, history=(MOMENT, MOMENT)
    ),
}
"""What travels by itself, and what within it has defaults of its own."""


def said() -> dict[str, Any]:
    texts: dict[str, Any] = {n: [tracker.encode(one).decode() for one in samples(full)] for n, full in SAID.items()}
    _, headers = tracker.sign_announce(ANNOUNCE, SIGNER)
    return texts | {"headers": headers, "network header": tracker.NETWORK_HEADER, "kinds": list(tracker.Kind)}


def structs_in(value: Any) -> set[type]:
    """The kinds of all structs in a value."""
    if isinstance(value, tuple):
        return set().union(*map(structs_in, value))
    if not isinstance(value, msgspec.Struct):
        return set()
    return {type(value)}.union(*(structs_in(getattr(value, name)) for name in value.__struct_fields__))


def record(folder: Path) -> None:
    save(folder, TRACKER, said())


def test_everything_is_written_and_read_as_it_was_recorded() -> None:
    recorded = load(TRACKER)
    assert said() == recorded
    for name, full in SAID.items():
        read = [msgspec.json.decode(text, type=type(full)) for text in recorded[name]]
        assert read == samples(full)


def test_the_recorded_announce_is_of_who_signed_it() -> None:
    recorded = load(TRACKER)
    headers, body = recorded["headers"], recorded["POST announce"][0].encode()
    peer, announce = tracker.read_announce(body, headers["shoal-peer"], headers["shoal-signature"])
    assert (peer, announce) == (SIGNER.peer_id, ANNOUNCE)


def test_there_is_one_of_everything() -> None:
    public = [kind for name, kind in vars(tracker).items() if not name.startswith("_") and isinstance(kind, type)]
    structs = {kind for kind in public if issubclass(kind, msgspec.Struct)}
    assert structs == set().union(*map(structs_in, SAID.values())), f"a struct that {TRACKER} has not"
    defaults = [left_out(full, name) for name, full in SAID.items()]
    assert [one for one in defaults if one] == [["POST announce.version"]], "there is one version only"


if __name__ == "__main__":
    record(Path(sys.argv[1]))
