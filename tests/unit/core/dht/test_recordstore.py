"""The record store against a plain model of itself, and its bounds one by one."""

from collections import Counter
from random import Random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from p2p.core.dht import recordstore
from p2p.core.dht.recordstore import FULL, RecordStore
from p2p.errors import Refused
from p2p.ids import H, PeerId
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


class Model(RuleBasedStateMachine):
    """Stores under small bounds, so that each of them is met."""

    @initialize()
    def begin(self) -> None:
        self.patch = pytest.MonkeyPatch()
        for name, value in {
            "MAX_PER_KEY": 4,
            "MAX_KEYS": 5,
            "MAX_BYTES": 1500,
            "MAX_PER_PUBLISHER": 4,
            "MAX_PER_PREFIX": 6,
            "MAX_PER_KEY_AND_PREFIX": 2,
            "EXPIRED_AT_ONCE": 3,
        }.items():
            set_constant(self.patch, recordstore, name, value)
        self.store = RecordStore()
        self.now = START
        self.model: dict[tuple[bytes, PeerId], tuple[Record, str]] = {}
        self.looked_at: dict[tuple[bytes, PeerId], int] = {}

    def teardown(self) -> None:
        if hasattr(self, "patch"):
            self.patch.undo()

    @rule(
        key=st.integers(0, 6),
        publisher=st.integers(0, 6),
        sequence=st.integers(0, 3),
        lasts=st.sampled_from([1, 5, 50]),
        size=st.sampled_from([80, 100, 300]),
        prefix=st.sampled_from(["", "a", "b", "c"]),
    )
    def put(self, key: int, publisher: int, sequence: int, lasts: int, size: int, prefix: str) -> None:
        new = record(key, publisher, sequence, lasts=lasts, size=size, now=self.now)
        self.sweep()
        slot = (new.key, new.publisher)
        before, _ = self.model.get(slot, (None, ""))
        stands = before is not None and before.expires > self.now
        expected = "kept"
        if before is not None and stands and sequence < before.sequence:
            expected = "an older one"
        elif before is not None and stands and sequence == before.sequence and new.raw != before.raw:
            expected = "another one of the same sequence"
        elif self.is_beyond(new, prefix):
            expected = "beyond"
        came_to = "kept"
        try:
            self.store.put(new, prefix, self.now)
        except Refused as refusal:
            came_to = "beyond" if str(refusal) in {"full", "no room", "quota"} else str(refusal)
        assert came_to == expected
        if came_to != "kept":
            return
        self.model[slot] = (new, prefix)
        self.looked_at.setdefault(slot, new.expires)

    def is_beyond(self, new: Record, prefix: str) -> bool:
        """Whether some bound would be exceeded."""
        slot = (new.key, new.publisher)
        others = {other: value for other, value in self.model.items() if other != slot}
        keys = Counter(key for key, _ in others)
        of_prefix = [one for one, name in others.values() if name == prefix]
        moved = prefix != "" and (slot not in self.model or self.model[slot][1] != prefix)
        return (
            keys[new.key] >= 4
            or (not keys[new.key] and len(keys) >= 5)
            or sum(len(one.raw) for one, _ in others.values()) + len(new.raw) > 1500
            or sum(one.publisher == new.publisher for one, _ in others.values()) >= 4
            or (moved and (len(of_prefix) >= 6 or sum(one.key == new.key for one in of_prefix) >= 2))
        )

    def sweep(self) -> bool:
        """At most three whose time has come, or had come before they were renewed."""
        for _ in range(3):
            due = sorted((at, slot) for slot, at in self.looked_at.items() if at <= self.now)
            if not due:
                return False
            _, slot = due[0]
            self.looked_at[slot] = self.model[slot][0].expires
            if self.looked_at[slot] <= self.now:
                del self.looked_at[slot], self.model[slot]
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
            alive = {one.raw for one, _ in self.model.values() if one.expires > self.now}
            assert kept(self.store, self.now) == alive
            assert len(self.store) == len(self.model)

    @invariant()
    def counts_are_right(self) -> None:
        if hasattr(self, "store"):
            slots = self.store._keys
            publishers = Counter(peer for key in slots.values() for peer, _ in key)
            prefixes = Counter(one.prefix for key in slots.values() for one in key.values())
            assert self.store._publishers == publishers
            assert self.store._prefixes == prefixes
            assert self.store.bytes == sum(len(one.raw) for key in slots.values() for one in key.values()) <= 1500
            assert len(self.store) == publishers.total()
            assert all(slots.values()), "no key without a record"
            assert len(slots) <= 5
            assert all(len(key) <= 4 for key in slots.values())


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=60)


def test_the_highest_sequence_stands() -> None:
    store = RecordStore()
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
    store = RecordStore()
    store.put(record(1, 1, 9, lasts=10), "a", START)
    store.put(record(1, 1, 3, now=START + 10), "a", START + 10)
    assert len(store.get(b"%020d" % 1, START + 10)) == 1
    # Nor one that was renewed for a shorter time, and is still to be swept out.
    store.put(record(2, 1, 1), "a", START)
    store.put(record(2, 1, 9, lasts=10), "a", START)
    store.put(record(2, 1, 3, now=START + 10), "a", START + 10)
    assert len(store.get(b"%020d" % 2, START + 10)) == 1


def test_storing_again_does_not_make_it_last() -> None:
    store = RecordStore()
    one = record(1, 1, lasts=100)
    for later in range(0, 100, 10):
        store.put(one, "a", START + later)
    assert store.get(one.key, START + 99)
    assert not store.get(one.key, START + 100)
    assert not store.expire(START + 100)
    assert (len(store), store.bytes, list(store.keys())) == (0, 0, [])


def test_a_renewal_that_is_refused_leaves_what_was_there(shorten: Shorten) -> None:
    shorten(recordstore, "MAX_BYTES", 250)
    shorten(recordstore, "MAX_PER_PREFIX", 1)
    store = RecordStore()
    store.put(record(1, 1, 1), "a", START)
    store.put(record(2, 2, 1), "b", START)
    with pytest.raises(Refused, match="no room"):
        store.put(record(1, 1, 2, size=200), "a", START)
    with pytest.raises(Refused, match="quota"):
        store.put(record(1, 1, 2), "b", START)
    assert store.get(b"%020d" % 1, START) == [record(1, 1, 1).raw]
    store.put(record(1, 1, 2), "a", START)
    assert store.get(b"%020d" % 1, START) == [record(1, 1, 2).raw]


def test_kinds_of_one_publisher_stand_side_by_side() -> None:
    store = RecordStore()
    one = record(1, 1)
    pointer = Record(
        RecordKind.POINTER, one.key, one.publisher, 0, START, START + 9, Pointer("a", bytes(32)), b"another", None
    )
    store.put(one, "a", START)
    store.put(pointer, "a", START)
    assert set(store.get(one.key, START)) == {one.raw, pointer.raw}


def test_a_key_is_full_for_strangers_and_not_for_those_in_it() -> None:
    store = RecordStore()
    for n in range(recordstore.MAX_PER_KEY):
        store.put(record(1, n), str(n), START)
    with pytest.raises(Refused) as refusal:
        store.put(record(1, 1000), "z", START)
    assert str(refusal.value) == FULL
    store.put(record(1, 3, 1), "3", START)
    assert len(store) == recordstore.MAX_PER_KEY


def test_one_host_does_not_fill_a_key_for_all_others() -> None:
    store = RecordStore()
    for n in range(recordstore.MAX_PER_KEY_AND_PREFIX):
        store.put(record(1, n), "a", START)
    with pytest.raises(Refused, match="quota"):
        store.put(record(1, 1000), "a", START)
    store.put(record(1, 1000), "b", START)
    store.put(record(1, 1001), "", START)


def test_publishers_and_prefixes_have_quotas() -> None:
    store = RecordStore()
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


def test_all_bytes_and_all_keys_are_bounded() -> None:
    store = RecordStore()
    random = Random(1)
    refused: Counter[str] = Counter()
    for n in range(recordstore.MAX_BYTES // 512 + 2000):
        try:
            store.put(record(random.randrange(8000), n, size=512), str(n // 500), START)
        except Refused as refusal:
            refused[str(refusal)] += 1
    assert store.bytes <= recordstore.MAX_BYTES
    assert len(list(store.keys())) <= recordstore.MAX_KEYS
    assert refused["no room"] > 0


def test_what_expires_together_is_forgotten_a_few_at_a_time() -> None:
    """No sweep holds up everything else."""
    store = RecordStore()
    for n in range(1000):
        store.put(record(n, n), str(n), START)
    assert store.expire(START + 1000)
    assert len(store) == 1000 - recordstore.EXPIRED_AT_ONCE
    assert not any(store.get(b"%020d" % n, START + 1000) for n in range(1000))
    while store.expire(START + 1000):
        pass
    assert (len(store), store.bytes) == (0, 0)
