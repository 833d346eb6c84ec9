"""One of every message of connections, jobs and clusters, as it was recorded: written and read the same ever after.

Recorded by `python -m tests.golden.test_messages FOLDER`. Of each type there are two: one with a value of its own in
every field, and one with only what it must have. An entry that is there is never changed; a new type is added by hand.
"""

import sys
from pathlib import Path
from typing import get_args

import pytest

from p2p.ids import PeerId
from p2p.wire import cluster, frames, handshake, messages, work
from p2p.wire.cluster import AnyCluster
from p2p.wire.messages import AnyMessage
from p2p.wire.tracker import Capacity
from p2p.wire.work import AnyWork
from tests.support.recordings import SIGNER, left_out, load, samples, save, tag_of

CONNECTION, JOBS, CLUSTER = "messages_connection.json", "messages_jobs.json", "messages_cluster.json"
FRAMES = "frames.json"
A, B, C, TOKEN = bytes(range(32)), bytes(range(32, 64)), b"\xff" * 32, bytes(range(16))
CHALLENGE = messages.Challenge(nonce=A)
CAPACITY = Capacity(
    runtimes=("python-wasm", "wasm"), cores=3, memory=1 << 29, gpu="none", policy="mine", load=0.25, unit_s=1800.5
)

NETWORK = "main"
OF_CONNECTION: tuple[AnyMessage, ...] = (
    CHALLENGE,
    handshake.prove(SIGNER, NETWORK, CHALLENGE, PeerId(B)),
    messages.Hello(software="shoal 1", features=("one", "two"), port=7474, seen_host="2001:db8::1"),
    messages.GetRoot(share=A),
    messages.Root(body=b"root"),
    messages.GetPart(share=A, index=70_000),
    messages.Part(index=1, body=b"part"),
    messages.Open(share=A, proof=b"proof"),
    messages.Have(ranges=((0, 3), (300, 70_000)), first=8, bits=b"\x05\x80"),
    messages.Gone(ranges=((2, 1),)),
    messages.Want(first=5, count=6),
    messages.Cancel(first=7, count=2**40),
    messages.Hurry(first=8, count=3),
    messages.Choked(position=4),
    messages.Peers(peers=((A, "192.0.2.1", 7474), (B, "peer.example", 65535))),
    messages.Bad(chunk=9),
    messages.Browse(cursor="there"),
    messages.Listed(shares=(messages.Listing(share=A, name="Bücher", size=2**52, files=12),), cursor="more"),
    messages.GetPointer(publisher=A, name="news"),
    messages.PointerIs(record=b"record"),
    messages.Offer(share=B),
    messages.DialMe(share=C),
    messages.Failed(reason="not found", share=A),
)
OF_JOBS: tuple[AnyWork, ...] = (
    work.GetCapacity(),
    work.CapacityIs(capacity=CAPACITY),
    work.JobOffer(
        job=A,
        bundle=B,
        runtime="python-wasm",
        digest=C,
        memory=1 << 30,
        wall_s=60.5,
        output_bytes=1 << 26,
        log_bytes=65_536,
        token=TOKEN,
        inputs=(work.InputShare(share=A, peers=(("192.0.2.1", 7474), ("2001:db8::1", 1))),),
        port=7475,
        waits=True,
    ),
    work.JobAccepted(slots=2, window=64, held=(0, 3), unit_s=60.25),
    work.JobRefused(reason="busy"),
    work.JobQueued(place=2, reason="paused"),
    work.VolunteerCall(job=A, capacity=CAPACITY),
    work.Units(
        units=(
            work.Unit(
                id=A,
                action=1,
                stage=2,
                partition=300,
                plan=B,
                kind="lines",
                pieces=(work.Piece(input=1, path="a/b.txt", offset=65_536, length=10),),
                first=11,
                count=12,
                reads=(1, 2),
                sizes=(3, 4, 5),
                inline=b"joined",
                results=6,
                keep=True,
            ),
        )
    ),
    work.Reads(
        unit=A,
        kept=(work.KeptOutput(place=1, unit=B, digest=C, number=2, holder=0),),
        holders=(work.Holder(peer=A, host="192.0.2.1", port=7474),),
    ),
    work.GetOutput(job=A, token=TOKEN, unit=B, number=3),
    work.OutputIs(digests=(A, C), size=1000),
    work.OutputGone(),
    work.Results(
        results=(
            work.Result(
                id=A,
                digest=B,
                sizes=(1, 2),
                inline=b"abc",
                seconds=0.125,
                records=(7, 8),
                kind="input",
                text="gone",
                kept=True,
                missing=(C,),
                log=b"printed\n",
                skipped=9,
            ),
        ),
        fetched=4096,
    ),
    work.Replaced(unit=A, count=2**40, piece=255),
    work.Bytes(of=A, offset=1, total=9, body=b"piece"),
    work.Slots(count=3),
    work.CancelUnits(ids=(A, B)),
    work.Heartbeat(ids=(C,), fetched=12, starved=True),
    work.JobEnd(job=A),
)
# Arrays say nothing of their fields' names, so these are recorded with their defaults too.
BARE = (
    work.Units(units=(work.Unit(id=A, action=0, stage=0, partition=0, plan=B),)),
    work.Results(results=(work.Result(id=A),)),
    work.JobOffer(A, B, "wasm", C, memory=1, wall_s=1.5, output_bytes=1, log_bytes=0, inputs=(work.InputShare(A),)),
)
ROOM = cluster.AllocationRoom(cores=3, memory=1 << 32, disk=1 << 34)
MEMBERS = (
    cluster.ClusterMember(index=0, peer=A, epoch=1, addresses=(("192.0.2.1", 7474), ("2001:db8::1", 1))),
    cluster.ClusterMember(index=253, peer=B, epoch=2, addresses=(("peer.example", 65535),)),
)
OF_CLUSTER: tuple[AnyCluster, ...] = (
    cluster.AskAllocation(cluster=TOKEN, room=ROOM, seconds=3600, machine="x86_64"),
    cluster.OfferAllocation(room=ROOM),
    cluster.RefuseAllocation(reason="its user wants it back"),
    cluster.GrantAllocation(
        index=1,
        epoch=2,
        environment=cluster.BoundShare(share=A, path=""),
        members=MEMBERS,
        mounts=(cluster.BoundShare(share=B, path="/data"),),
        files=(("ca.pem", b"key"),),
    ),
    cluster.ClusterMembers(members=MEMBERS),
    cluster.Preparing(what="fetching the environment", done=5, total=2**40),
    cluster.AllocationReady(),
    cluster.StartProcess(
        number=1, name="worker", argv=("/opt/env/bin/dask", "worker"), variables=(("OMP_NUM_THREADS", "1"),)
    ),
    cluster.SignalProcess(number=1, signal=15),
    cluster.ProcessOutput(number=1, body=b"Listening\n", lost=7),
    cluster.ProcessEnded(number=1, code=-9, reason="out of memory"),
    cluster.StillThere(),
    cluster.EndAllocation(reason="no longer needed", notice_s=30),
    cluster.Packets(cluster=TOKEN, index=1, epoch=2),
)
SAID = {CONNECTION: OF_CONNECTION, JOBS: OF_JOBS, CLUSTER: OF_CLUSTER}


def said(name: str) -> dict[str, list[AnyMessage]]:
    """The messages of a file by their tags."""
    found: dict[str, list[AnyMessage]] = {tag_of(type(full)): list(samples(full)) for full in SAID[name]}
    for bare in BARE if name == JOBS else ():
        found[tag_of(type(bare))].append(bare)
    return found


def framed() -> dict[str, str]:
    return {
        "control": frames.control_frame(messages.Bad(chunk=9)).hex(),
        "data": frames.data_header(2**33, 262_144, 1000).hex(),
        "alpn": handshake.alpn("golden")[0],
    }


def record(folder: Path) -> None:
    for name in SAID:
        bodies = {tag: [messages.encode(one).hex() for one in ones] for tag, ones in said(name).items()}
        save(folder, name, bodies)
    save(folder, FRAMES, framed())


@pytest.mark.parametrize("name", SAID)
def test_each_message_is_written_and_read_as_it_was_recorded(name: str) -> None:
    recorded = load(name)
    for tag, ones in said(name).items():
        assert [messages.encode(one).hex() for one in ones] == recorded[tag]
        assert [messages.decode(bytes.fromhex(body)) for body in recorded[tag]] == ones


def test_there_is_one_of_every_message() -> None:
    jobs = set(map(tag_of, get_args(AnyWork)))
    assert set(load(JOBS)) == jobs, f"a message of jobs that {JOBS} has not, or one that is no more"
    clusters = set(map(tag_of, get_args(AnyCluster)))
    assert set(load(CLUSTER)) == clusters, f"a message of clusters that {CLUSTER} has not, or one that is no more"
    rest = set(map(tag_of, get_args(AnyMessage))) - jobs - clusters
    assert set(load(CONNECTION)) == rest, f"a message that {CONNECTION} has not, or one that is no more"


def test_the_messages_have_a_value_of_their_own_in_every_field() -> None:
    assert [
        left_out(full, tag_of(type(full))) for full in (*OF_CONNECTION, *OF_JOBS, *OF_CLUSTER) if left_out(full)
    ] == []


def test_the_recorded_proof_is_of_who_signed_it() -> None:
    proof = messages.decode(bytes.fromhex(load(CONNECTION)["proof"][0]))
    assert isinstance(proof, messages.Proof)
    assert handshake.check_proof(proof, NETWORK, CHALLENGE, PeerId(B)) == SIGNER.peer_id


def test_frames_begin_as_they_were_recorded() -> None:
    assert framed() == load(FRAMES)
    header = bytes.fromhex(load(FRAMES)["data"])
    assert frames.parse_header(header, 0, len(header), 0) == frames.DataHeader(2**33, 262_144, 1000)


if __name__ == "__main__":
    record(Path(sys.argv[1]))
