"""The DHT's endpoint over real sockets: whatever arrives, it goes on serving, and amplifies nothing."""

import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial

import pytest
import trio

from p2p.core.dht import admission
from p2p.core.dht.admission import QueryRates
from p2p.core.dht.routing import Contact
from p2p.errors import ConfigError
from p2p.identity import Identity
from p2p.net import datagrams as module
from p2p.net.datagrams import Endpoint, head_of, open_socket
from p2p.wire.datagrams import (
    AMPLIFICATION,
    MAX_DATAGRAM_BYTES,
    NUMBER_BYTES,
    Answer,
    DatagramCodec,
    FindNode,
    Nodes,
    Ping,
    Pong,
    Query,
    pack_address,
)
from tests.support.constants import Shorten

NETWORK = "endpoints"
PATIENCE_S = 30.0


@dataclass(eq=False)
class Served:
    """An endpoint that answers pings and keeps what it was told."""

    endpoint: Endpoint
    queries: list[Query] = field(default_factory=list)
    met: list[tuple[Contact, int | None]] = field(default_factory=list)
    answers: Callable[["Served", Query, Contact], Answer | None] | None = None

    @property
    def contact(self) -> Contact:
        return Contact(self.endpoint.codec.node_id, *self.endpoint.address)

    def serve(self, query: Query, contact: Contact, budget: int) -> Answer | None:
        self.queries.append(query)
        if self.answers is not None:
            return self.answers(self, query, contact)
        return Pong(*head_of(query, contact, self.endpoint.now()))

    def meet(self, contact: Contact, unproven_bytes: int | None) -> None:
        self.met.append((contact, unproven_bytes))


def codec(network: str = NETWORK, identity: Identity | None = None) -> DatagramCodec:
    return DatagramCodec(identity or Identity.generate(), bytes(8), network, 0)


class Bare:
    """A socket and a codec: it sends what it likes and sees all that comes back."""

    def __init__(self, host: str = "127.0.0.1", network: str = NETWORK) -> None:
        self.codec = codec(network)
        self.socket = trio.socket.from_stdlib_socket(open_socket(host, 0))

    @property
    def contact(self) -> Contact:
        return Contact(self.codec.node_id, *self.socket.getsockname()[:2])

    async def send(self, data: bytes | bytearray, to: Served) -> None:
        await self.socket.sendto(data, to.endpoint.address)

    async def receive(self) -> tuple[bytes, tuple[str, int]]:
        with trio.fail_after(PATIENCE_S):
            data, source = await self.socket.recvfrom(65536)
            return data, source[:2]

    async def question(self) -> tuple[Query, tuple[str, int]]:
        """The next query, taken apart."""
        data, source = await self.receive()
        message = self.codec.read(data).message
        assert isinstance(message, Query)
        return message, source

    async def quiet(self, served: Served) -> bytes:
        """What has come before the answer to a ping of now: all from before is through then."""
        number = os.urandom(NUMBER_BYTES)
        await self.send(self.codec.write(Ping(number, served.endpoint.codec.node_id)), served)
        got = b""
        while True:
            data, _ = await self.receive()
            message = self.codec.read(data).message
            if isinstance(message, Pong) and message.number == number:
                return got
            got += data


@pytest.fixture
async def served(nursery: trio.Nursery) -> Served:
    return await start(nursery)


@pytest.fixture
async def bare() -> AsyncIterator[Bare]:
    made = Bare()
    with made.socket:
        yield made


async def start(nursery: trio.Nursery, host: str = "127.0.0.1", of: DatagramCodec | None = None) -> Served:
    made = Served(Endpoint(of or codec(), open_socket(host, 0)))
    await nursery.start(made.endpoint.run, made.serve, made.meet)
    return made


async def ask(one: Served, other: Contact | tuple[str, int]) -> module.Reply | None:
    with trio.fail_after(PATIENCE_S):
        return await one.endpoint.ask(other, Ping)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_question_and_answer(nursery: trio.Nursery, host: str) -> None:
    one, other = await start(nursery, host), await start(nursery, host)
    reply = await ask(one, other.contact)
    assert reply is not None
    assert isinstance(reply.answer, Pong)
    assert reply.contact.key == other.contact.key
    assert [(who.key, left) for who, left in one.met] == [(other.contact.key, None)]
    assert [who.key for who, _ in other.met] == [one.contact.key]
    assert one.endpoint.seen_as == {one.contact.prefix: one.endpoint.address[0]}


async def test_an_address_alone_is_asked_who_is_there(nursery: trio.Nursery, served: Served) -> None:
    other = await start(nursery)
    reply = await ask(other, served.endpoint.address)
    assert reply is not None
    assert reply.contact.id == served.endpoint.codec.node_id


async def test_every_length_of_nonsense_is_survived(served: Served, bare: Bare) -> None:
    """Zeros, noise, a torn datagram, and one with a right header and noise after it."""
    whole = bare.codec.write(Ping(bytes(NUMBER_BYTES), served.endpoint.codec.node_id, bytes(1070)))
    for length in range(2001):
        kinds = (bytes(length), os.urandom(length), whole[: min(length, len(whole) - 1)], whole[:111])
        head = kinds[3] + os.urandom(max(0, length - 111))
        for data in (*kinds[:3], head[:length]):
            await bare.send(data, served)
        if length % 10 == 0:
            assert await bare.quiet(served) == b"", "nonsense is not answered"
            # 201 pings are in quick succession from one host: that they are too many is another test's business.
            served.endpoint._rates = QueryRates(trio.current_time())
    assert served.endpoint.counts["malformed"] > 7000
    assert await bare.quiet(served) == b""


async def test_what_is_too_large_is_dropped(served: Served, bare: Bare) -> None:
    whole = bare.codec.write(Ping(bytes(NUMBER_BYTES), served.endpoint.codec.node_id))
    for size in (MAX_DATAGRAM_BYTES + 1, 9000, 65507):
        await bare.send(whole.ljust(size, b"\0"), served)
    assert await bare.quiet(served) == b""
    assert served.endpoint.counts["malformed"] == 3


async def test_another_network_is_not_answered(served: Served, bare: Bare) -> None:
    stranger = codec("another")
    await bare.send(stranger.write(Ping(bytes(NUMBER_BYTES), served.endpoint.codec.node_id)), served)
    assert await bare.quiet(served) == b""


async def test_a_forged_signature_is_not_answered(served: Served, bare: Bare) -> None:
    data = bytearray(bare.codec.write(Ping(bytes(NUMBER_BYTES), served.endpoint.codec.node_id)))
    data[60] ^= 1
    await bare.send(data, served)
    assert await bare.quiet(served) == b""
    assert served.endpoint.counts["forged"] == 1


async def test_a_query_for_another_is_of_no_use_here(served: Served, bare: Bare) -> None:
    """Somebody who was asked sends the query on, under its own address."""
    for to in (b"", os.urandom(20)):
        await bare.send(bare.codec.write(FindNode(bytes(NUMBER_BYTES), to, bytes(20))), served)
    await bare.send(bare.codec.write(Ping(bytes(NUMBER_BYTES), os.urandom(20))), served)
    assert await bare.quiet(served) == b""
    assert served.endpoint.counts["misdirected"] == 3


async def test_an_answer_that_nobody_asked_for_changes_nothing(served: Served, bare: Bare) -> None:
    head = (bytes(NUMBER_BYTES), served.endpoint.codec.node_id, 2**39, pack_address("8.8.8.8", 1))
    await bare.send(bare.codec.write(Pong(*head)), served)
    assert await bare.quiet(served) == b""
    assert served.endpoint.counts["unasked"] == 1
    assert not served.endpoint.seen_as
    assert [left is None for _, left in served.met] == [False], "only the ping of now was heard"


async def asked(served: Served, bare: Bare, nursery: trio.Nursery) -> tuple[Query, "trio.MemoryReceiveChannel[object]"]:
    """`served` asks `bare`: the query, and where the reply will be."""
    send, receive = trio.open_memory_channel[object](1)

    async def run() -> None:
        await send.send(await served.endpoint.ask(bare.contact, Ping))

    nursery.start_soon(run)
    query, _ = await bare.question()
    return query, receive


async def came_of(receive: "trio.MemoryReceiveChannel[object]") -> object:
    with trio.fail_after(PATIENCE_S):
        return await receive.receive()


async def test_an_answer_from_another_address_is_not_taken(served: Served, bare: Bare, nursery: trio.Nursery) -> None:
    query, receive = await asked(served, bare, nursery)
    answer = bare.codec.write(Pong(*head_of(query, served.contact, 0)))
    elsewhere = Bare()
    with elsewhere.socket:
        await elsewhere.send(answer, served)
        assert await elsewhere.quiet(served) == b""
    assert served.endpoint.counts["unasked"] == 1
    await bare.send(answer, served)
    reply = await came_of(receive)
    assert isinstance(reply, module.Reply)


async def test_an_answer_of_another_node_ends_the_waiting(served: Served, bare: Bare, nursery: trio.Nursery) -> None:
    query, receive = await asked(served, bare, nursery)
    other = codec()
    await bare.send(other.write(Pong(*head_of(query, served.contact, 0))), served)
    assert await came_of(receive) is None
    assert served.endpoint.counts["impostors"] == 1
    assert not served.met


async def test_an_answer_to_another_question_ends_the_waiting(
    served: Served, bare: Bare, nursery: trio.Nursery
) -> None:
    query, receive = await asked(served, bare, nursery)
    await bare.send(bare.codec.write(Nodes(*head_of(query, served.contact, 0), bytes(8), b"")), served)
    assert await came_of(receive) is None


async def test_forged_answers_cost_a_few_signature_checks_and_not_the_answer(
    served: Served, bare: Bare, nursery: trio.Nursery
) -> None:
    query, receive = await asked(served, bare, nursery)
    answer = bare.codec.write(Pong(*head_of(query, served.contact, 0)))
    forged = bytearray(answer)
    forged[60] ^= 1
    for _ in range(module.MAX_FORGED_ANSWERS - 1):
        await bare.send(forged, served)
    await bare.send(answer, served)
    assert isinstance(await came_of(receive), module.Reply)
    assert served.endpoint.counts["forged"] == module.MAX_FORGED_ANSWERS - 1


async def test_an_answer_counts_once(served: Served, bare: Bare, nursery: trio.Nursery) -> None:
    query, receive = await asked(served, bare, nursery)
    answer = bare.codec.write(Pong(*head_of(query, served.contact, 0)))
    for _ in range(3):
        await bare.send(answer, served)
    assert isinstance(await came_of(receive), module.Reply)
    await bare.quiet(served)
    assert sum(left is None for _, left in served.met) == 1
    assert not served.endpoint._pending


async def test_a_lost_answer_is_asked_for_again_with_the_same_datagram(
    served: Served, bare: Bare, nursery: trio.Nursery
) -> None:
    stalls = []
    replies = []

    async def run() -> None:
        replies.append(await served.endpoint.ask(bare.contact, Ping, lambda: stalls.append(1)))

    nursery.start_soon(run)
    first, _ = await bare.receive()
    again, _ = await bare.receive()
    assert first == again
    assert stalls == [1]
    query = bare.codec.read(again).message
    assert isinstance(query, Ping)
    await bare.send(bare.codec.write(Pong(*head_of(query, served.contact, 0))), served)
    await bare.quiet(served)
    assert [type(reply) for reply in replies] == [module.Reply]


async def test_a_query_that_comes_twice_is_answered_twice(served: Served, bare: Bare) -> None:
    """So the one whose answer was lost has it the second time."""
    query = bare.codec.write(Ping(bytes(NUMBER_BYTES), served.endpoint.codec.node_id))
    for _ in range(2):
        await bare.send(query, served)
        data, _ = await bare.receive()
        answer = bare.codec.read(data).message
        assert isinstance(answer, Pong)
        assert answer.number == bytes(NUMBER_BYTES)


async def test_nobody_there_is_none(nursery: trio.Nursery, served: Served) -> None:
    with open_socket("127.0.0.1", 0) as mute:
        assert await ask(served, Contact(bytes(20), *mute.getsockname())) is None
    assert served.endpoint.counts["unanswered"] == 1
    assert not served.endpoint._pending


@pytest.mark.parametrize("host", ["no-such-host.invalid", "", "localhost", "127.0.0.1\0", "::1%\n"])
async def test_a_name_is_never_looked_up(served: Served, host: str) -> None:
    assert await ask(served, (host, 7474)) is None
    assert served.endpoint.counts["sent_bytes"] == 0


@pytest.mark.parametrize("address", [("255.255.255.255", 9), ("::1", 9), ("127.0.0.1", 0), ("127.0.0.1", 70000)])
async def test_what_cannot_be_sent_is_not_sent(served: Served, address: tuple[str, int]) -> None:
    assert await ask(served, address) is None


async def test_another_way_to_write_an_address_is_the_same_address(nursery: trio.Nursery) -> None:
    one, other = await start(nursery, "::1"), await start(nursery, "::1")
    assert await ask(one, ("0:0:0::0:1", other.endpoint.address[1])) is not None


async def test_two_nodes_with_one_key_do_not_answer_each_other(nursery: trio.Nursery, served: Served) -> None:
    twin = await start(nursery, of=served.endpoint.codec)
    assert await ask(twin, served.endpoint.address) is None
    assert served.endpoint.counts["own"] > 0
    third = await start(nursery)
    for one in (twin, served):
        assert await ask(third, one.contact) is not None


async def test_too_many_queries_of_a_host_are_dropped_before_their_signature_is_checked(
    nursery: trio.Nursery, bare: Bare, shorten: Shorten
) -> None:
    shorten(admission, "QUERIES_PER_S", 1e-9)
    shorten(admission, "QUERY_BURST", 10)
    served = await start(nursery)
    forged = bytearray(bare.codec.write(Ping(bytes(NUMBER_BYTES), served.endpoint.codec.node_id)))
    forged[60] ^= 1
    for _ in range(50):
        await bare.send(forged, served)
    elsewhere = Bare("127.0.1.1")
    with elsewhere.socket:
        assert await elsewhere.quiet(served) == b"", "others are still served"
    assert (served.endpoint.counts["forged"], served.endpoint.counts["limited"]) == (10, 40)


async def test_answers_are_not_limited_with_the_queries(bare: Bare, nursery: trio.Nursery, shorten: Shorten) -> None:
    """Else a flood from all over would cut this node off."""
    shorten(admission, "ALL_QUERIES_PER_S", 1e-9)
    shorten(admission, "ALL_QUERY_BURST", 1e-9)
    served = await start(nursery)
    query, receive = await asked(served, bare, nursery)
    await bare.send(bare.codec.write(Pong(*head_of(query, served.contact, 0))), served)
    assert isinstance(await came_of(receive), module.Reply)


async def test_honest_queries_are_answered_in_a_flood_of_broken_signatures(
    nursery: trio.Nursery, shorten: Shorten
) -> None:
    """60 hosts in 30 networks use up what they may; whoever comes then is answered."""
    shorten(admission, "ALL_QUERY_BURST", 100)
    shorten(admission, "ALL_QUERIES_PER_S", 1e-9)
    served = await start(nursery)
    with ExitStack() as opened:
        flood = [Bare(f"127.{20 + number % 30}.{number // 30}.1") for number in range(60)]
        honest = [Bare(f"127.{60 + number}.0.1") for number in range(7)]
        for one in (*flood, *honest):
            opened.enter_context(one.socket)
        forged = bytearray(flood[0].codec.write(Ping(bytes(NUMBER_BYTES), served.endpoint.codec.node_id)))
        forged[60] ^= 1
        for _ in range(9):
            for one in flood:
                await one.send(forged, served)
            await trio.lowlevel.checkpoint()
        for one in honest:
            assert await one.quiet(served) == b""
    counts = served.endpoint.counts
    assert counts["forged"] + counts["limited"] == 9 * 60
    assert counts["forged"] < 80


async def test_an_unwanted_query_costs_no_signature(nursery: trio.Nursery, bare: Bare) -> None:
    made = Served(Endpoint(codec(), open_socket("127.0.0.1", 0)))
    await nursery.start(made.endpoint.run, made.serve, made.meet, lambda query, contact: isinstance(query, Ping))
    query = bytearray(bare.codec.write(FindNode(bytes(NUMBER_BYTES), made.endpoint.codec.node_id, bytes(20))))
    await bare.send(query, made)
    query[60] ^= 1
    await bare.send(query, made)
    assert await bare.quiet(made) == b""
    assert (made.endpoint.counts["unwanted"], made.endpoint.counts["forged"]) == (2, 0)


async def test_what_is_left_for_an_unproven_host_is_what_it_paid_for(served: Served, bare: Bare) -> None:
    query = bare.codec.write(Ping(bytes(NUMBER_BYTES), served.endpoint.codec.node_id, bytes(100)))
    await bare.send(query, served)
    answer, _ = await bare.receive()
    await bare.quiet(served)
    assert served.met[0][1] == AMPLIFICATION * len(query) - len(answer) > 0


async def test_opinions_of_one_prefix_are_one(nursery: trio.Nursery, served: Served) -> None:
    def lie(one: Served, query: Query, contact: Contact) -> Answer:
        return Pong(query.number, contact.id, 2**39, pack_address("8.8.8.8", 1))

    for number in range(7):
        other = await start(nursery, f"127.0.3.{number + 1}")
        other.answers = lie
        assert await ask(served, other.contact) is not None
    assert served.endpoint.clock.seconds == 0
    assert list(served.endpoint.seen_as.values()) == ["8.8.8.8"]


async def test_a_host_that_few_see_is_not_believed(served: Served) -> None:
    seen = served.endpoint.seen_as
    assert served.endpoint.sees("8.8.8.8"), "who has asked nobody yet has nothing to hold against it"
    seen.update({f"prefix {number}": "9.9.9.9" for number in range(5)})
    seen["liar"] = "8.8.8.8"
    assert not served.endpoint.sees("8.8.8.8")
    assert served.endpoint.sees("9.9.9.9")
    assert served.endpoint.sees("192.168.1.7"), "private networks are the matter of those in them"


async def test_cancelled_while_it_asks_nothing_is_left(nursery: trio.Nursery, served: Served, bare: Bare) -> None:
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as asking:
            asking.start_soon(partial(served.endpoint.ask, bare.contact, Ping))
            query, _ = await bare.question()
            scope.cancel()
    assert not served.endpoint._pending
    await bare.send(bare.codec.write(Pong(*head_of(query, served.contact, 0))), served)
    assert await bare.quiet(served) == b"", "the late answer is nobody's"


async def test_cancelled_it_closes_its_socket(nursery: trio.Nursery) -> None:
    made = Served(Endpoint(codec(), open_socket("127.0.0.1", 0)))
    async with trio.open_nursery() as running:
        await running.start(made.endpoint.run, made.serve, made.meet)
        running.cancel_scope.cancel()
    assert made.endpoint._socket.fileno() == -1
    assert await ask(made, ("127.0.0.1", 9)) is None, "who asks later hears nothing, and no more"


def test_a_socket_needs_an_address_that_is_free() -> None:
    with open_socket("127.0.0.1", 0) as taken:
        assert taken.family == socket.AF_INET
        with pytest.raises(ConfigError, match="in use"):
            open_socket("127.0.0.1", taken.getsockname()[1])
    with pytest.raises(ConfigError, match="IP address"):
        open_socket("localhost", 0)
