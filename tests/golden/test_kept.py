"""What a peer keeps in its home in a form of its own, and links, as they were recorded.

Recorded by `python -m tests.golden.test_kept FOLDER`; an entry that is there is never changed.
"""

import json
import sys
from pathlib import Path
from typing import Any

import msgspec

from p2p.compute.spec import JobSpec, Resumable
from p2p.core.compute.skipped import DEFAULT_MOST
from p2p.ids import PeerId, ShareId
from p2p.store import stamps
from p2p.store.stamps import Stamp
from p2p.wire import link
from p2p.wire.address import Address
from p2p.wire.link import Link, PeerHint, PointerLink
from tests.support.recordings import SIGNER, left_out, load, save

KEPT, LINKS = "kept.json", "links.json"
SHARE, PEER = ShareId(bytes(range(32))), PeerId(bytes(range(32, 64)))
WISH = JobSpec(
    path="/home/somebody/job.py",
    inputs=("/home/somebody/texts", "magnet:?xt=urn:shoal:a"),
    args={"words": ["a", 1, None], "deep": {"b": 0.5}},
    runtime="python-wasm",
    partitions=12,
    unit_memory=1 << 28,
    unit_time_s=90.5,
    peers=("192.0.2.1:7474",),
    volunteers=3,
    out="/home/somebody/out",
    wait_s=20.0,
    along=("/home/somebody/data.csv", "/home/somebody/tiny-1-py3-none-any.whl"),
    requirements="/home/somebody/wanted.txt",
    max_skipped=77,
)
LATER: dict[str, Any] = {"along": (), "requirements": None, "max_skipped": DEFAULT_MOST}
"""What jobs that were recorded first do not have."""
JOB = Resumable(
    wish=WISH,
    runtime="python-wasm",
    digest="ab" * 32,
    bundle="a" * 52,
    token="cd" * 16,
    inputs=("b" * 52,),
    made=("c" * 52, "d" * 52),
    partition_bytes=65_536,
)
SEEDED = msgspec.structs.replace(JOB, wish=msgspec.structs.replace(WISH, seed=4711))
PLAIN = Resumable(JobSpec("/job.py"), "wasm", "ab" * 32, "a" * 52, "cd" * 16, (), ())
STAMPS = [
    Stamp(11, 12, 1_700_000_000_123_456_789, 1_700_000_001_123_456_789),
    stamps.NOT_HELD,
    Stamp(2**63, 10, 2**64 - 1, 2**64 - 2),
]
LINK = Link(
    SHARE,
    "Bücher & more",
    2**52,
    (PeerHint(Address("192.0.2.1", 7474), SIGNER.peer_id), PeerHint(Address("2001:db8::1", 1), PEER)),
    ("http://tracker.example:8750",),
)
EARLIER: dict[str, Link | PointerLink] = {
    "whole": LINK,
    "bare": Link(SHARE),
    "peer without an id": Link(SHARE, peers=(PeerHint(Address("peer.example", 7474)),)),
    "mutable": PointerLink(PEER, "news/today ü"),
}
"""Links of before, which are read, and written no more."""
NAMED: dict[str, Link | PointerLink] = {
    "s": LINK,
    "bare s": EARLIER["bare"],
    "s, peer without an id": EARLIER["peer without an id"],
    "m": PointerLink(PEER, "News/today ü", LINK.peers, ("https://tracker.example/a",)),
}


def kept() -> dict[str, Any]:
    """As `Journal.begin` has a job, as JSON text, and `Library.add` the stamps."""
    return {
        "job with files": json.dumps(msgspec.to_builtins(JOB)),
        "seeded job": json.dumps(msgspec.to_builtins(SEEDED)),
        "stamps": stamps.pack_stamps(STAMPS).hex(),
        "ctimes": stamps.pack_ctimes(STAMPS).hex(),
    }


def record(folder: Path) -> None:
    save(folder, KEPT, kept())
    save(folder, LINKS, {name: str(one) for name, one in NAMED.items()})


def test_what_is_kept_is_written_and_read_as_it_was_recorded() -> None:
    recorded = load(KEPT)
    for name, text in kept().items():
        assert recorded[name] == text
    before = msgspec.structs.replace(JOB, wish=msgspec.structs.replace(WISH, **LATER))
    assert msgspec.convert(json.loads(recorded["job"]), Resumable) == before
    assert msgspec.convert(json.loads(recorded["job with files"]), Resumable) == JOB
    assert msgspec.convert(json.loads(recorded["plain job"]), Resumable) == PLAIN
    assert msgspec.convert(json.loads(recorded["seeded job"]), Resumable) == SEEDED
    packed, ctimes = bytes.fromhex(recorded["stamps"]), bytes.fromhex(recorded["ctimes"])
    assert stamps.Stamps.unpack(packed, ctimes) == STAMPS
    assert stamps.Stamps.unpack(packed) == [stamp._replace(ctime_ns=0) for stamp in STAMPS]
    assert left_out(SEEDED) == []


def test_a_job_without_its_later_fields_is_read() -> None:
    fewer = json.loads(load(KEPT)["job with files"])
    del fewer["partition_bytes"]
    assert msgspec.convert(fewer, Resumable) == msgspec.structs.replace(JOB, partition_bytes=0)
    fewer["wish"] = {"path": "/job.py"}
    assert msgspec.convert(fewer, Resumable).wish == JobSpec("/job.py")


def test_links_are_written_and_read_as_they_were_recorded() -> None:
    recorded = load(LINKS)
    assert {name: str(one) for name, one in NAMED.items()} == {name: recorded[name] for name in NAMED}
    assert {name: link.parse_any_link(text) for name, text in recorded.items()} == EARLIER | NAMED


if __name__ == "__main__":
    record(Path(sys.argv[1]))
