"""The record store against a plain model of itself, its bounds one by one, and who gives way when it is full."""

from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from random import Random

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from p2p.core.dht import recordstore
from p2p.core.dht.origins import origin_of
from p2p.core.dht.recordstore import FULL, RecordStore
from p2p.errors import Refused
from p2p.ids import H, PeerId
from p2p.places import NARROW
from p2p.wire.records import Pointer, Provider, Record, RecordKind
from tests.support.constants import Shorten, set_constant

START = 1_800_000_000


def record(
    key: int, publisher: int, sequence: int = 0, *, lasts: int = 1000, size: int = 100, now: int = START
) -> Record:
    """What `records.read` gives; the store looks at no signature, so there is none."""
    raw = b"%d %d %d %d " % (key, publisher, sequence, now + lasts)
    peer = PeerId(H("publisher", b"%d" % publisher))
    return Record(
        RecordKind.PROVIDER, b"%020d" % key, peer, sequence, now, now + lasts, Provider(()), raw.ljust(size, b"."), None
    )


def kept(store: RecordStore, now: float) -> set[bytes]:
    return {raw for key in list(store.keys()) for raw in store.get(key, now)}


HOSTS = ["", "11.1.1.1", "11.1.1.2", "11.1.2.1", "11.2.1.1", "12.1.1.1", "13.1.1.1"]


class Model(RuleBasedStateMachine):
    """Stores under small bounds, so that each of them is met."""

    @initialize()
    def begin(self) -> None:
        self.patch = pytest.MonkeyPatch()
        for name, value in {
            "MAX_PER_KEY": 4,
            "MAX_RECORDS": 9,
            "MAX_PER_PUBLISHER": 4,
            "MAX_PER_PREFIX": 6,
            "MAX_PER_KEY_AND_PREFIX": 3,
            "EXPIRED_AT_ONCE": 3,
        }.items():
            set_constant(self.patch, recordstore, name, value)
        self.store = RecordStore(bytes(20))
        self.now = START
        self.model: dict[tuple[bytes, PeerId], Record] = {}

    def teardown(self) -> None:
        if hasattr(self, "patch"):
            self.patch.undo()

    @rule(
        key=st.integers(0, 6),
        publisher=st.integers(0, 6),
        sequence=st.integers(0, 3),
        lasts=st.sampled_from([1, 5, 50]),
        host=st.sampled_from(HOSTS),
    )
    def put(self, key: int, publisher: int, sequence: int, lasts: int, host: str) -> None:
        new = record(key, publisher, sequence, lasts=lasts, now=self.now)
        self.sweep()
        slot = (new.key, new.publisher)
        before = self.model.get(slot)
        if before is not None and before.expires <= self.now:
            del self.model[slot]
            before = None
        alone = before is None and self.is_alone_here(new.key, host)
        came_to = "kept"
        try:
            self.store.put(new, host, self.now)
        except Refused as refusal:
            came_to = str(refusal)
        if before is not None:
            expected = "kept"
            if sequence < before.sequence:
                expected = "an older one"
            elif sequence == before.sequence and new.raw != before.raw:
                expected = "another one of the same sequence"
            assert came_to == expected, "whoever is in keeps its place, wherever it comes from"
        if came_to == "kept":
            self.model[slot] = new
        live = self.places()
        gone = [place for place in self.model if place not in live]
        for place in gone:
            del self.model[place]
        if came_to != "kept" or before is not None:
            assert not gone
        if gone:
            at_key = [one.origin for one in self.store._keys[new.key].values()]
            prefix = origin_of(host).prefix
            of_prefix = sum(one.prefix == prefix != "" for one in at_key)
            at_its_key = sum(place[0] == new.key for place in gone)
            assert at_its_key <= 1
            assert not at_its_key or len(self.model) == 9 or len(at_key) == 4 or of_prefix == 3, "no need"
            is_full = prefix != "" and self.store._crowd.sizes(origin_of(host).networks)[NARROW] == 6
            assert len(gone) == 1 or (at_its_key and is_full and len(gone) == 2)
            assert at_its_key or is_full or len(self.model) == 9, "no need"
        assert not (alone and came_to in {FULL, "no room"}), "a network that has nothing gets its share"

    def is_alone_here(self, key: bytes, host: str) -> bool:
        """Whether no record of the key is of the host's /16, while two of another are."""
        wide = [kept.origin.networks[:1] for kept in self.store._keys.get(key, {}).values()]
        counts = Counter(wide)
        mine = origin_of(host).networks[:1]
        is_crowded = any(count > 1 for network, count in counts.items() if network)
        return bool(mine) and not counts[mine] and is_crowded and len(wide) >= 4

    def places(self) -> dict[tuple[bytes, PeerId], bytes]:
        return {(key, slot[0]): kept.raw for key, slots in self.store._keys.items() for slot, kept in slots.items()}

    def sweep(self) -> bool:
        """At most three whose time has come."""
        for _ in range(3):
            due = sorted((one.expires, slot) for slot, one in self.model.items() if one.expires <= self.now)
            if not due:
                return False
            del self.model[due[0][1]]
        return True

    @rule(seconds=st.sampled_from([1, 4, 30]))
    def wait(self, seconds: int) -> None:
        self.now += seconds

    @rule()
    def expire(self) -> None:
        assert self.store.expire(self.now) == self.sweep()

    @invariant()
    def gives_what_lives(self) -> None:
        if hasattr(self, "store"):
            alive = {one.raw for one in self.model.values() if one.expires > self.now}
            assert kept(self.store, self.now) == alive
            assert len(self.store) == len(self.model) <= 9
            for key in list(self.store.keys()):
                assert sorted(self.store.spread(key, self.now, Random(1).shuffle)) == sorted(
                    self.store.get(key, self.now)
                )

    @invariant()
    def counts_are_right(self) -> None:
        if hasattr(self, "store"):
            slots = self.store._keys
            every = [one for key in slots.values() for one in key.values()]
            publishers = Counter(peer for key in slots.values() for peer, _ in key)
            prefixes = Counter(one.origin.prefix for one in every if one.origin.prefix)
            assert self.store._publishers == publishers
            counted = {
                one.origin.prefix: self.store._crowd.sizes(one.origin.networks)[NARROW]
                for one in every
                if one.origin.prefix
            }
            assert counted == prefixes
            assert len(self.store._crowd) == prefixes.total()
            for one in every:
                wide = one.origin.networks[:1]
                crowd = sum(other.origin.networks[:1] == wide for other in every)
                assert not wide or self.store._crowd.sizes(wide) == (crowd,)
            assert all(slots.values()), "no key without a record"
            assert all(len(key) <= 4 for key in slots.values())
            assert max(prefixes.values(), default=0) <= 6


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=60)


def fill(store: RecordStore, key: int, hosts: Iterable[str], first: int = 100) -> list[Record]:
    """One record of a publisher of its own from each of the hosts."""
    made = [record(key, first + number) for number in range(len(list(hosts)))]
    for one, host in zip(made, hosts, strict=True):
        store.put(one, host, START)
    return made


CROWD = [f"{20 + network}.1.1.{host}" for host in range(8) for network in range(8)]
"""Eight hosts in each of eight /24s, each /24 in a /16 of its own."""


def test_a_few_networks_do_not_fill_a_key() -> None:
    """Eight /24s fill all 64 places; whoever comes from elsewhere gets in, and stays however often they come again."""
    store = RecordStore(bytes(20))
    fill(store, 1, CROWD)
    honest = record(1, 1)
    store.put(honest, "81.2.69.1", START)
    for number, host in enumerate(CROWD * 4):
        with suppress(Refused):
            store.put(record(1, 1000 + number), host, START)
    live = store.get(honest.key, START)
    assert honest.raw in live
    assert len(live) == recordstore.MAX_PER_KEY


def test_many_small_networks_in_one_large_one_are_one_crowd() -> None:
    store = RecordStore(bytes(20))
    fill(store, 1, [f"20.1.{number}.1" for number in range(64)])
    for number in range(10):
        store.put(record(1, number), f"{90 + number}.1.1.1", START)
    assert len(store.get(b"%020d" % 1, START)) == recordstore.MAX_PER_KEY
    # In the crowded network itself, a narrow one that is new comes before the second of another.
    store = RecordStore(bytes(20))
    fill(store, 1, [f"20.1.{number % 8}.{number}" for number in range(64)])
    honest = record(1, 1)
    store.put(honest, "20.1.200.1", START)
    assert honest.raw in store.get(honest.key, START)


def test_networks_of_ipv6_nest() -> None:
    """One /48 with 64 networks of its own is one crowd; a /48 elsewhere in the same /32 gets in."""
    store = RecordStore(bytes(20))
    fill(store, 1, [f"2001:db8:{number % 8:x}:{number:x}::1" for number in range(64)])
    for host in ("2001:db9::1", "2001:db8:ffff::1"):
        store.put(record(1, len(host)), host, START)
    fill(store, 2, [f"2001:db8:0:{number:x}::1" for number in range(8)], first=300)
    refused = 0
    for number in range(20):
        try:
            store.put(record(2, 600 + number), f"2001:db8:0:{number:x}::1", START)
        except Refused as refusal:
            refused += str(refusal) == recordstore.QUOTA
    assert refused > 10, "the quotas are those of a /48"


def test_of_networks_that_are_equally_crowded_the_old_and_the_near_stay() -> None:
    """64 networks, one record each: newcomers of further networks never get more than the younger half."""
    store = RecordStore(bytes(20))
    first = fill(store, 1, [f"{20 + number}.1.1.1" for number in range(64)])
    came = 0
    for number in range(500):
        with suppress(Refused):
            store.put(record(1, 1000 + number), f"{90 + number % 100}.{1 + number // 100}.1.1", START)
            came += 1
    live = store.get(first[0].key, START)
    assert {one.raw for one in first[:32]} <= set(live)
    assert 32 <= came < 200, "those nearest to the key get in, less and less often"


def test_nobody_gets_a_record_displaced_by_storing_it_again() -> None:
    """A pointer names no address, so anybody may store it: a copy from a crowd does not make it one of the crowd."""
    store = RecordStore(bytes(20))
    honest = record(1, 1, 5)
    store.put(honest, "81.2.69.1", START)
    fill(store, 1, CROWD[:-1])
    store.put(honest, CROWD[0], START)
    newer = record(1, 1, 6)
    store.put(newer, CROWD[0], START)
    for number, host in enumerate(["82.1.1.1", *CROWD]):
        with suppress(Refused):
            store.put(record(1, 1000 + number), host, START)
    assert newer.raw in store.get(honest.key, START)


def test_a_record_that_a_crowd_stored_first_moves_to_its_publishers_network(shorten: Shorten) -> None:
    shorten(recordstore, "MAX_RECORDS", 9)
    store = RecordStore(bytes(20))
    one = record(1, 1)
    store.put(one, "20.1.1.1", START)
    for number in range(8):
        store.put(record(2 + number, 100 + number), "20.1.1.1", START)
    store.put(one, "81.2.69.1", START)
    for number in range(7):
        store.put(record(20 + number, 200 + number), f"{90 + number}.1.1.1", START)
    assert one.raw in store.get(one.key, START)


def test_a_full_store_makes_room_for_networks_that_have_less(shorten: Shorten) -> None:
    """Eight networks fill it with pointers for a month: what others store is kept, theirs goes."""
    shorten(recordstore, "MAX_RECORDS", 64)
    store = RecordStore(b"\x30" * 20)
    fill(store, 1, CROWD[:32])
    fill(store, 2, CROWD[32:], first=300)
    for number in range(8):
        store.put(record(10 + number, number), f"{90 + number}.1.1.1", START)
    assert len(store) == 64
    assert all(store.get(b"%020d" % (10 + number), START) for number in range(8))
    # Its node's neighbourhood decides among equals, and only over the last that came.
    store = RecordStore(b"%020d" % 7)
    for number in range(64):
        store.put(record(1000 + number, number), f"{20 + number}.1.1.1", START)
    store.put(record(7, 100), "90.1.1.1", START)
    with pytest.raises(Refused, match="no room"):
        store.put(record(999_999, 101), "91.1.1.1", START)
    assert store.get(b"%020d" % 7, START)
    assert store.get(b"%020d" % 1000, START)


def pointer(key: int, publisher: int) -> Record:
    return msgspec.structs.replace(record(key, publisher), kind=RecordKind.POINTER)


def test_pointers_of_one_network_leave_room() -> None:
    store = RecordStore(b"%020d" % 0)
    refused = 0
    for number in range(recordstore.MAX_POINTERS_PER_PREFIX + 10):
        try:
            store.put(pointer(number, number), f"20.1.1.{number % 200}", START)
        except Refused as refusal:
            refused += str(refusal) == recordstore.QUOTA
    assert refused == 10, "whoever comes from hosts that have as many, and is farther from the node"
    store.put(record(5000, 5000), "20.1.1.1", START)


@pytest.mark.parametrize(
    ("most", "made"), [(recordstore.MAX_POINTERS_PER_PREFIX, pointer), (recordstore.MAX_PER_PREFIX, record)]
)
def test_the_hosts_of_a_network_share_its_quota(most: int, made: Callable[[int, int], Record]) -> None:
    """One host that stored 128 pointers, which stay for 30 days, had all its neighbours refused for so long."""
    store = RecordStore(b"%020d" % 0)
    of_others = [made(9000 + number, 9000 + number) for number in range(2)]
    for one, host in zip(of_others, ("20.1.1.2", "20.1.2.1"), strict=True):
        store.put(one, host, START)
    for number in range(most - 1):
        store.put(made(number, number), "20.1.1.1", START)
    neighbours = [made(5000 + number, 5000 + number) for number in range(20)]
    for number, one in enumerate(neighbours):
        store.put(one, f"20.1.1.{10 + number}", START)
    for number in range(200):
        with suppress(Refused):
            store.put(made(20_000 + number, 20_000 + number), "20.1.1.1", START)
    assert len(store) == most + 1
    assert all(store.get(one.key, START) == [one.raw] for one in (*of_others, *neighbours))


def test_a_newcomer_to_a_full_network_and_a_full_key_displaces_no_more_than_it_must(shorten: Shorten) -> None:
    shorten(recordstore, "MAX_PER_KEY", 4)
    shorten(recordstore, "MAX_POINTERS_PER_PREFIX", 6)
    store = RecordStore(b"%020d" % 0)
    for number, host in enumerate(["20.1.1.1", "20.1.1.1", "30.1.1.1", "40.1.1.1"]):
        store.put(pointer(1, number), host, START)
    for number in range(4):
        store.put(pointer(10 + number, number), "20.1.1.1", START)
    store.put(pointer(1, 100), "20.1.1.2", START)
    assert len(store) == 8, "one of its network and of its key made room in both"
    # If it has to be one at the key and another of the network, both go.
    for number in range(5):
        store.put(pointer(20 + number, 200 + number), "50.1.1.1", START)
    store.put(pointer(24, 205), "50.1.1.2", START)
    for number in range(4):
        store.put(pointer(30, 300 + number), "60.1.1.1" if number < 2 else f"6{number}.1.1.1", START)
    before = len(store)
    store.put(pointer(30, 400), "50.1.1.3", START)
    assert len(store) == before - 1
    assert len(store.get(b"%020d" % 30, START)) == 4


def test_no_network_has_more_of_an_answer_than_its_share() -> None:
    """Only the first few of a full key's records fit into an answer."""
    store = RecordStore(bytes(20))
    honest = record(1, 1)
    store.put(honest, "81.2.69.1", START)
    fill(store, 1, CROWD[:-1])
    random = Random(1)
    first = sum(honest.raw in store.spread(honest.key, START, random.shuffle)[:5] for _ in range(200))
    assert 90 <= first <= 130, "one of nine networks, in five of nine answers"


def test_the_highest_sequence_stands() -> None:
    store = RecordStore(bytes(20))
    store.put(record(1, 1, 5), "a", START)
    for sequence in (4, 0):
        with pytest.raises(Refused, match="older"):
            store.put(record(1, 1, sequence), "a", START)
    with pytest.raises(Refused, match="same sequence"):
        store.put(record(1, 1, 5, lasts=2000), "a", START)
    store.put(record(1, 1, 5), "b", START)
    store.put(record(1, 1, 6), "a", START)
    assert store.get(b"%020d" % 1, START) == [record(1, 1, 6).raw]


def test_a_record_that_is_over_stands_in_nobodys_way() -> None:
    store = RecordStore(bytes(20))
    store.put(record(1, 1, 9, lasts=10), "a", START)
    store.put(record(1, 1, 3, now=START + 10), "a", START + 10)
    assert len(store.get(b"%020d" % 1, START + 10)) == 1
    # Nor one that was renewed for a shorter time, and is still to be swept out.
    store.put(record(2, 1, 1), "a", START)
    store.put(record(2, 1, 9, lasts=10), "a", START)
    store.put(record(2, 1, 3, now=START + 10), "a", START + 10)
    assert len(store.get(b"%020d" % 2, START + 10)) == 1


def test_storing_again_does_not_make_it_last() -> None:
    store = RecordStore(bytes(20))
    one = record(1, 1, lasts=100)
    for later in range(0, 100, 10):
        store.put(one, "a", START + later)
    assert store.get(one.key, START + 99)
    assert not store.get(one.key, START + 100)
    assert not store.expire(START + 100)
    assert (len(store), list(store.keys())) == (0, [])


def test_kinds_of_one_publisher_stand_side_by_side() -> None:
    store = RecordStore(bytes(20))
    one = record(1, 1)
    pointer = Record(
        RecordKind.POINTER, one.key, one.publisher, 0, START, START + 9, Pointer("a", bytes(32)), b"another", None
    )
    store.put(one, "a", START)
    store.put(pointer, "a", START)
    assert set(store.get(one.key, START)) == {one.raw, pointer.raw}


def test_a_key_is_full_for_strangers_and_not_for_those_in_it() -> None:
    store = RecordStore(bytes(20))
    made = fill(store, 1, [f"20.1.{number % 8}.{number}" for number in range(64)])
    refused = []
    for number in range(1000, 1200):
        with pytest.raises(Refused) as refusal:
            store.put(record(1, number), "20.1.1.1", START)
        refused.append(str(refusal.value))
        if refused.count(recordstore.QUOTA) == len(refused) == 1:
            break
    store.put(record(1, 103, 1), "20.1.3.3", START)
    assert len(store) == recordstore.MAX_PER_KEY
    assert made[0].raw in store.get(made[0].key, START)


def test_one_host_does_not_fill_a_key_for_all_others() -> None:
    """Of its own prefix, the older half stays and of the others the nearest."""
    store = RecordStore(bytes(20))
    made = fill(store, 1, ["20.1.1.1"] * recordstore.MAX_PER_KEY_AND_PREFIX)
    refused = 0
    for number in range(100):
        try:
            store.put(record(1, 1000 + number), "20.1.1.1", START)
        except Refused as refusal:
            refused += str(refusal) == recordstore.QUOTA
    assert len(store) == recordstore.MAX_PER_KEY_AND_PREFIX
    assert {one.raw for one in made[:4]} <= set(store.get(made[0].key, START))
    assert refused > 70
    store.put(record(1, 2000), "20.1.2.1", START)
    store.put(record(1, 2001), "", START)


def test_publishers_and_prefixes_have_quotas() -> None:
    store = RecordStore(bytes(20))
    for n in range(recordstore.MAX_PER_PUBLISHER):
        store.put(record(n, 1), "", START)
    with pytest.raises(Refused, match="quota"):
        store.put(record(5000, 1), "", START)
    store.put(record(0, 1, 1), "", START)
    for n in range(recordstore.MAX_PER_PREFIX):
        store.put(record(n, 2 + n), "a", START)
    with pytest.raises(Refused, match="quota"):
        store.put(record(5000, 5000), "a", START)
    store.put(record(0, 2, 1), "a", START)
    store.put(record(5000, 5000), "b", START)


def test_what_expires_together_is_forgotten_a_few_at_a_time() -> None:
    """No sweep holds up everything else."""
    store = RecordStore(bytes(20))
    for n in range(1000):
        store.put(record(n, n), str(n), START)
    assert store.expire(START + 1000)
    assert len(store) == 1000 - recordstore.EXPIRED_AT_ONCE
    assert not any(store.get(b"%020d" % n, START + 1000) for n in range(1000))
    while store.expire(START + 1000):
        pass
    assert len(store) == 0
