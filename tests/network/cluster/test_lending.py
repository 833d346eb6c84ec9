"""What a peer says to owners that ask for room: to those that are listed, and to all others."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import msgspec
import pytest
import trio

from p2p.cluster.lists import NOBODY
from p2p.cluster.spec import ClusterSpec
from p2p.control.protocol import VolunteerRequest
from p2p.errors import ConfigError, NotFound, PeerError
from p2p.ids import ShareId, to_text
from p2p.net.connection import Connection
from p2p.node import Node
from p2p.progress import Progress
from p2p.wire import cluster as wire
from p2p.wire.messages import Failed
from tests.support.clusters.native import UIDS, needs_bubblewrap
from tests.support.world import World, asked, hint_of

ASK = wire.AskAllocation(cluster=bytes(16), room=wire.AllocationRoom(cores=1, memory=1 << 28, disk=1 << 28))
ROOM = {"cores": 2, "memory_bytes": 1 << 30, "disk_bytes": 1 << 30, "uids": UIDS}

pytestmark = needs_bubblewrap


@asynccontextmanager
async def asking(owner: Node, member: Node, ask: Any = ASK) -> AsyncIterator[tuple[Connection, Any]]:
    """A connection to the member on which the owner has asked, and the answer."""
    connection = await owner.dialer.dial(hint_of(member).address, member.peer_id)
    try:
        await connection.send(ask)
        yield connection, await connection.receive()
    finally:
        connection.close()


async def reply(owner: Node, member: Node, ask: Any = ASK) -> Any:
    async with asking(owner, member, ask) as (_, said):
        return said


async def listing(world: World, **cluster: Any) -> tuple[Node, Node]:
    """An owner, and a member that has it on its list."""
    owner = await world.peer("owner")
    member = await world.peer("member", stays=True, cluster={"allow": (to_text(owner.peer_id),), **ROOM, **cluster})
    return owner, member


async def until_free(member: Node) -> None:
    """Waits until nothing is lent any more."""
    with trio.fail_after(30):
        while member.clusters.lent:
            await member.changes.after(member.changes.count)


async def test_who_is_not_listed_gets_the_answer_of_a_peer_that_lends_to_nobody(world: World) -> None:
    owner, member = await listing(world)
    stranger, closed = await world.peer("stranger"), await world.peer("closed", stays=True)
    said = await reply(stranger, member)
    assert said == wire.RefuseAllocation(NOBODY)
    assert said == await reply(stranger, closed)
    assert await reply(owner, member) == wire.OfferAllocation(ASK.room)


async def test_the_list_can_be_changed_while_the_peer_runs_and_is_kept(world: World) -> None:
    owner, member = await world.peer("owner"), await world.peer("member", stays=True, cluster=ROOM)
    assert isinstance(await reply(owner, member), wire.RefuseAllocation)
    await member.clusters.change_list("allow", to_text(owner.peer_id), remove=False)
    assert isinstance(await reply(owner, member), wire.OfferAllocation)
    assert to_text(owner.peer_id) in (member.home / "config.toml").read_text()
    async with asking(owner, member) as (connection, _):
        await member.clusters.change_list("allow", to_text(owner.peer_id), remove=True)
        said = await connection.receive()
        assert isinstance(said, wire.EndAllocation)
        assert "no longer listed" in said.reason
    assert isinstance(await reply(owner, member), wire.RefuseAllocation)
    with pytest.raises(ConfigError, match="this peer itself"):
        await member.clusters.change_list("allow", to_text(member.peer_id), remove=False)


async def test_who_trusts_nobody_is_told_so_before_an_environment_is_packed(world: World) -> None:
    owner = await world.peer("owner", stays=True)
    spec = ClusterSpec(engine="dask", environment=str(world.folder / "none"))
    with pytest.raises(NotFound, match="shoal cluster trust PEER"):
        await owner.clusters.start(spec, Progress())


async def test_nobody_gets_more_than_there_is_and_what_is_given_back_is_free(world: World) -> None:
    owner, member = await listing(world)
    huge = msgspec.structs.replace(ASK, room=wire.AllocationRoom(cores=3, memory=1, disk=1))
    said = await reply(owner, member, huge)
    assert "3 cores" in said.reason
    assert "it has 2 cores" in said.reason
    second = msgspec.structs.replace(ASK, cluster=b"2" * 16)
    third = msgspec.structs.replace(ASK, cluster=b"3" * 16)
    async with asking(owner, member) as (_, one), asking(owner, member, second) as (_, two):
        assert isinstance(one, wire.OfferAllocation)
        assert isinstance(two, wire.OfferAllocation)
        assert isinstance(await reply(owner, member, third), wire.RefuseAllocation)
        assert "already" in (await reply(owner, member)).reason
    await until_free(member)
    assert isinstance(await reply(owner, member, third), wire.OfferAllocation)


async def test_cores_are_lent_to_a_cluster_or_used_for_jobs_and_never_both(world: World) -> None:
    owner = await world.peer("owner")
    lends = {"allow": (to_text(owner.peer_id),), **ROOM}
    member = await world.peer("member", stays=True, cluster=lends, volunteer={"cores": 2})
    assert member.volunteering is not None
    assert member.volunteering.spare == 2
    async with asking(owner, member):
        assert member.volunteering.spare == 1
    await until_free(member)
    assert member.volunteering.spare == 2


async def test_who_pauses_lends_nothing_more_and_may_end_what_is_lent(world: World) -> None:
    owner, member = await listing(world)
    async with asking(owner, member) as (connection, _):
        answer = await asked(member, VolunteerRequest(pause=True))
        assert (answer.paused, answer.cores, len(answer.lent)) == (True, 0, 1)
        second = msgspec.structs.replace(ASK, cluster=b"2" * 16)
        assert (await reply(owner, member, second)).reason == "paused by its user"
        await asked(member, VolunteerRequest(pause=True, now=True))
        said = await last_word(connection)
        assert isinstance(said, wire.EndAllocation)
        assert "wants the machine back" in said.reason
    assert not (await asked(member, VolunteerRequest(pause=False))).paused
    assert isinstance(await reply(owner, member), wire.OfferAllocation)


async def test_an_environment_for_another_machine_is_refused_before_it_is_fetched(world: World) -> None:
    owner, member = await listing(world)
    said = await reply(owner, member, msgspec.structs.replace(ASK, machine="pdp11"))
    assert "pdp11" in said.reason


async def test_a_machine_that_can_have_no_members_says_so_to_both_sides(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, member = await listing(world)
    monkeypatch.setenv("PATH", "/nowhere")
    assert "bubblewrap is missing" in (await reply(owner, member)).reason
    assert "bubblewrap is missing" in (await member.clusters.list()).trouble
    told = await member.clusters.change_list("trust", to_text(owner.peer_id), remove=False)
    assert "apt install bubblewrap" in told.trouble


async def test_a_peer_of_one_command_lends_nothing(world: World) -> None:
    owner = await world.peer("owner")
    member = await world.peer("member", cluster={"allow": (to_text(owner.peer_id),)})
    assert await reply(owner, member) == wire.RefuseAllocation(NOBODY)


@pytest.mark.parametrize(
    "said",
    [
        wire.StartProcess(1, "early", ("/bin/true",)),
        wire.SignalProcess(1, 9),
        wire.AllocationReady(),
        wire.OfferAllocation(ASK.room),
        ASK,
    ],
)
async def test_no_program_starts_before_its_owner_was_granted_a_sandbox(world: World, said: Any) -> None:
    owner, member = await listing(world)
    async with asking(owner, member) as (connection, _):
        await connection.send(said)
        assert isinstance(await last_word(connection), wire.EndAllocation | wire.StillThere | Failed)
    await until_free(member)


async def test_packets_of_a_cluster_that_is_not_here_are_not_taken(world: World) -> None:
    owner, member = await listing(world)
    said = await reply(owner, member, wire.Packets(cluster=bytes(16), index=1, epoch=1))
    assert isinstance(said, Failed)


async def last_word(connection: Connection) -> Any:
    """The last that the other side says before it hangs up."""
    heard = None
    with trio.fail_after(30), suppress(PeerError):
        while True:
            heard = await connection.receive()
    return heard


Word = Callable[[Connection], Awaitable[None]]


async def silent(connection: Connection) -> None:
    await trio.sleep_forever()


async def alive(connection: Connection) -> None:
    while True:
        await connection.send(wire.StillThere())
        await trio.sleep(0.1)


@pytest.mark.parametrize("words", [silent, alive])
async def test_room_is_not_kept_for_an_owner_that_does_not_take_it(
    world: World, words: Word, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("p2p.core.cluster.allocations.SILENCE_S", 0.5)
    monkeypatch.setattr("p2p.core.cluster.allocations.OFFER_S", 1.5)
    owner, member = await listing(world)
    async with asking(owner, member) as (connection, _), trio.open_nursery() as nursery:
        nursery.start_soon(words, connection)
        with trio.fail_after(30):
            while not isinstance(said := await connection.receive(), wire.EndAllocation):
                pass
        nursery.cancel_scope.cancel()
    assert "silent" in said.reason if words is silent else "not taken" in said.reason
    await until_free(member)


async def test_members_read_the_environment_of_their_own_cluster_and_no_other(world: World) -> None:
    owner, member = await listing(world)
    other, stranger = await world.peer("other"), await world.peer("stranger")
    environment, another = ShareId(b"e" * 32), ShareId(b"f" * 32)
    named = tuple(wire.ClusterMember(index, node.peer_id, 1) for index, node in enumerate((owner, member, other)))
    async with asking(owner, member) as (connection, _):
        await connection.send(wire.GrantAllocation(1, 1, wire.BoundShare(environment, ""), named))
        while not isinstance(await connection.receive(), wire.Preparing):
            pass
        may_read = member.clusters.may_read
        assert may_read(environment, other.peer_id)
        assert not may_read(another, other.peer_id)
        assert not may_read(environment, stranger.peer_id)
    await until_free(member)
    assert not member.clusters.may_read(environment, other.peer_id)
