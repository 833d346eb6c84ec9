"""One of every datagram, record and beacon, signed, as it was recorded.

Recorded by `python -m tests.golden.test_dht FOLDER`; an entry that is there is never changed.
"""

import sys
from pathlib import Path
from typing import get_args

import pytest

from p2p.errors import MalformedMessage
from p2p.ids import ShareId
from p2p.wire import beacon, datagrams, nodeid, records
from p2p.wire.datagrams import AnyMessage, pack_address, pack_contacts
from p2p.wire.records import Payload
from p2p.wire.tracker import Capacity, provider_key
from tests.support.recordings import SIGNER, left_out, load, samples, save, tag_of

DATAGRAMS, RECORDS, BEACONS = "datagrams.json", "records.json", "beacons.json"
NONCE = nodeid.find_nonce(SIGNER.peer_id, 4)
CODEC = datagrams.DatagramCodec(SIGNER, NONCE, "golden", 4)
START = b"at start"
A = bytes(range(32))
NUMBER, TO, KEY, TOKEN = A[:12], A[:20], A[12:], b"a token!"
NETWORK = "main"
NOW, LASTS_S = 1_700_000_000, 1800
SEEN = pack_address("192.0.2.1", 7474)
V4 = pack_contacts([(TO, "192.0.2.2", 7475), (KEY, "198.51.100.3", 1)])
V6 = pack_contacts([(TO, "2001:db8::1", 65535)])
EARLIER = "4"
"""Keyword records of version 1, whose words were cut in another way. They last for six hours."""
HERE = (("192.0.2.1", 7474), ("192.0.2.1", 7475))

SAID: tuple[AnyMessage, ...] = (
    datagrams.Ping(NUMBER, TO, padding=bytes(3)),
    datagrams.FindNode(NUMBER, TO, target=KEY, padding=bytes(300)),
    datagrams.FindValue(NUMBER, TO, key=KEY, padding=bytes(2)),
    datagrams.Store(NUMBER, TO, token=TOKEN, key=KEY, record=b"record", padding=bytes(1)),
    datagrams.Pong(NUMBER, TO, now=NOW, seen=SEEN),
    datagrams.Nodes(NUMBER, TO, now=NOW, seen=pack_address("2001:db8::2", 9), token=TOKEN, contacts=V6),
    datagrams.Values(NUMBER, TO, NOW, SEEN, token=TOKEN, contacts=V4, records=(b"one", b"two"), total=300),
    datagrams.Stored(NUMBER, TO, now=NOW, seen=SEEN, refused="full"),
)
CAPACITY = Capacity(
    runtimes=("python-wasm", "wasm"), cores=3, memory=1 << 29, gpu="none", policy="mine", load=0.25, unit_s=1800.5
)
KEPT: tuple[tuple[bytes, Payload], ...] = (
    (provider_key(ShareId(A)), records.Provider(HERE, held=bytes(range(8)))),
    (records.hiring_key("wasm", 1), records.Provider(HERE, held=bytes(8))),
    (records.capacity_key("wasm", 2), records.OfferedCapacity(CAPACITY, HERE)),
    (records.address_key(SIGNER.peer_id), records.Whereabouts((("2001:db8::1", 7474),))),
    (records.keyword_key("bucher", 3), records.Titles((records.Title(A, 2**40, "Bücher von gestern"),))),
    (records.pointer_key(SIGNER.peer_id, "news"), records.Pointer("news", A)),
)


def sent() -> dict[str, list[str]]:
    return {tag_of(type(full)): [CODEC.write(one).hex() for one in samples(full)] for full in SAID}


def sealed() -> dict[str, list[list[str]]]:
    """The key and the record of each kind, by its number and, if that is not 1, the version."""
    found: dict[str, list[list[str]]] = {}
    for key, full in KEPT:
        for payload in samples(full):
            made = records.seal(SIGNER, NETWORK, key, payload, sequence=2**40, now=NOW, lasts_s=LASTS_S)
            found.setdefault(named(made.kind), []).append([key.hex(), made.raw.hex()])
    return found


def named(kind: records.RecordKind) -> str:
    version = records.VERSIONS[kind]
    return str(int(kind)) if version == 1 else f"{int(kind)}.{version}"


def told() -> dict[str, str]:
    codec = beacon.BeaconCodec(SIGNER, "golden", START)
    return {str(int(kind)): codec.write(kind, 7474).hex() for kind in beacon.BeaconKind}


def record(folder: Path) -> None:
    save(folder, DATAGRAMS, sent())
    save(folder, RECORDS, sealed())
    save(folder, BEACONS, told())


def test_each_datagram_is_written_and_read_as_it_was_recorded() -> None:
    recorded = load(DATAGRAMS)
    assert sent() == recorded
    for full in SAID:
        for one, raw in zip(samples(full), recorded[tag_of(type(full))], strict=True):
            read = CODEC.read(bytes.fromhex(raw))
            assert read.message == one
            assert CODEC.proven(read) == CODEC.node_id
    assert [left_out(full) for full in SAID if left_out(full)] == []


def test_each_record_is_written_and_read_as_it_was_recorded() -> None:
    recorded = load(RECORDS)
    for key, raw in recorded.pop(EARLIER):
        with pytest.raises(MalformedMessage, match="version 1"):
            records.read(bytes.fromhex(raw), bytes.fromhex(key), NOW, NETWORK)
    assert sealed() == recorded
    payloads = [
        records.read(bytes.fromhex(r), bytes.fromhex(key), NOW, NETWORK).payload
        for k in recorded.values()
        for key, r in k
    ]
    assert sorted(map(repr, payloads)) == sorted(repr(one) for _, full in KEPT for one in samples(full))
    assert [left_out(full) for _, full in KEPT if left_out(full)] == []


def test_each_beacon_is_written_and_read_as_it_was_recorded() -> None:
    codec, recorded = beacon.BeaconCodec(SIGNER, "golden", bytes(8)), load(BEACONS)
    assert told() == recorded
    for number, (kind, raw) in enumerate(recorded.items(), start=1):
        read = codec.read(bytes.fromhex(raw))
        assert read[:5] == (SIGNER.peer_id, START, number, int(kind), 7474)
        assert codec.proven(read)


def test_there_is_one_of_every_kind() -> None:
    assert set(load(DATAGRAMS)) == set(map(tag_of, get_args(AnyMessage))), f"of datagrams, in {DATAGRAMS}"
    assert set(load(RECORDS)) == {EARLIER, *map(named, records.RecordKind)}, f"of records, in {RECORDS}"
    assert {type(payload) for _, payload in KEPT} == set(get_args(Payload)), f"of payloads, in {RECORDS}"
    assert set(load(BEACONS)) == {str(int(kind)) for kind in beacon.BeaconKind}, f"of beacons, in {BEACONS}"


if __name__ == "__main__":
    record(Path(sys.argv[1]))
