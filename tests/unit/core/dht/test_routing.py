"""The routing table: exact neighbours, no prefix that holds it, and none of upstream's surprises."""

from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.core.dht.routing import MAX_PER_PREFIX, Contact, K, Table, point

OWN = bytes(20)
ids = st.binary(min_size=20, max_size=20)


def host(number: int) -> str:
    """Addresses as on the Internet, each of a prefix of its own."""
    return f"{11 + number // 65536 % 100}.{number // 256 % 256}.{number % 256}.1"


def contact(node: bytes, number: int = 0) -> Contact:
    return Contact(node, host(number), 7474)


def near(number: int, bits: int = 152) -> bytes:
    """An id in the half of the space that is far from `OWN`: they all share its first byte."""
    return b"\x80" + number.to_bytes(bits // 8, "big")


def filled(nodes: list[bytes], own: bytes = OWN) -> tuple[Table, list[Contact]]:
    table = Table(own)
    for number, node in enumerate(nodes):
        table.add_contact(contact(node, number))
    return table, list(table)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("count", [0, 1, 19, 47, 400])
def test_neighbours_are_exactly_the_nearest(seed: int, count: int) -> None:
    """Upstream's traverser stops with buckets unread: of 47 contacts it finds 0.58 of the nearest 20."""
    random = Random(seed)
    own = random.randbytes(20)
    # Half of them near this node, as in a table after a join.
    nodes = [random.randbytes(20) if n % 2 else own[:2] + random.randbytes(18) for n in range(count)]
    table, known = filled(nodes, own)
    for _ in range(20):
        target = point(random.choice([random.randbytes(20), own[:2] + random.randbytes(18)]))
        expected = sorted(known, key=target.distance_to)
        for k in (1, K, None):
            assert table.find_neighbors(target, k) == expected[: k or K]


@given(st.lists(ids, max_size=80), ids, ids)
def test_neighbours_of_any_table(nodes: list[bytes], own: bytes, target: bytes) -> None:
    table, known = filled(nodes, own)
    assert {one.id for one in known} <= set(nodes) - {own}
    expected = sorted((one for one in known if one.id != target), key=point(target).distance_to)
    assert table.find_neighbors(point(target)) == expected[:K]
    assert len(table) == len(known)


@given(st.lists(ids, min_size=1, max_size=120, unique=True), ids)
def test_buckets_cover_all_ids_and_hold_their_own(nodes: list[bytes], own: bytes) -> None:
    table, known = filled(nodes, own)
    ranges = [bucket.range for bucket in table.buckets]
    assert ranges[0][0] == 0
    assert ranges[-1][1] >= 2**160 - 1
    assert all(high + 1 == low for (_, high), (low, _) in pairwise(ranges))
    assert all(len(bucket) <= K for bucket in table.buckets)
    for one in known:
        assert table.get(one.id) is one
        assert table.knows(one)
    for bucket in table.buckets:
        assert all(bucket.range[0] <= one.long_id <= bucket.range[1] for one in bucket.nodes.values())


def test_the_ends_of_the_id_space_have_a_place() -> None:
    table = Table(b"\xff" * 20)
    for number, node in enumerate([bytes(20), b"\x80" + bytes(19), b"\x7f" + b"\xff" * 19, b"\xff" * 19 + b"\xfe"]):
        table.add_contact(contact(node, number))
    assert len(table) == 4
    for number in range(200):  # split as far as it goes
        table.add_contact(contact(b"\xff" * 18 + number.to_bytes(2, "big"), 9 + number))
    assert table.get(bytes(20)) is not None
    assert table.get(b"\xff" * 19 + b"\xfe") is not None


def test_own_neighbourhood_is_split_and_the_far_half_is_not() -> None:
    table, known = filled([near(n) for n in range(100)])
    assert len(known) <= K * 5, "a relaxed split goes five levels deep"
    few, close = filled([bytes(17) + n.to_bytes(3, "big") for n in range(1, 2 * K)])
    assert len(close) == 2 * K - 1, "who is nearest to this node always has a place"
    assert len(few.buckets) > len(table.buckets)


def test_a_full_bucket_offers_the_one_not_heard_of_for_longest() -> None:
    table = Table(OWN)
    # All differ in the last byte only, below a common prefix of a multiple of 5 bits: this bucket is not split.
    nodes = [b"\xf8" + bytes(13) + bytes([n << 3 for n in (0,)]) + bytes(4) + bytes([n]) for n in range(200)]
    evictable = None
    added = []
    for number, node in enumerate(nodes):
        evictable = table.add_contact(contact(node, number))
        if evictable is not None:
            break
        added.append(node)
    assert evictable is not None
    assert evictable.id == next(node for node in added if table.get(node) is not None)
    table.add_contact(evictable)  # it has answered: it goes to the end, and the next is the oldest
    other = table.add_contact(contact(nodes[len(added) + 1], 500))
    assert other is not None
    assert other.id != evictable.id


def full_bucket() -> tuple[Table, list[Contact], Contact]:
    """A table with a bucket that is full, who is in it, oldest first, and one who waits for a place."""
    table = Table(OWN)
    number = 0
    while True:
        newcomer = contact(b"\xf8" + bytes(18) + bytes([number]), number)
        number += 1
        if table.add_contact(newcomer) is not None:
            bucket = table.buckets[table.get_bucket_for(newcomer)]
            return table, list(bucket.nodes.values()), newcomer


def test_who_answered_last_takes_the_place_of_who_is_gone() -> None:
    table, members, newcomer = full_bucket()
    assert table.get(newcomer.id) is None
    table.remove_contact(members[0])
    assert table.get(members[0].id) is None
    assert table.get(newcomer.id) is newcomer


def test_a_contact_that_moved_is_known_at_its_new_address_at_once() -> None:
    table = Table(OWN)
    old, new = contact(near(1), 1), contact(near(1), 2)
    table.add_contact(old)
    table.add_contact(new)
    assert [one.address for one in table] == [new.address]
    assert table.knows(new)
    assert not table.knows(old)


def test_who_is_not_where_somebody_said_stays_where_it_is() -> None:
    """Else a liar who names contacts at wrong addresses empties the tables of all who ask there."""
    table, members, newcomer = full_bucket()
    for known in (*members, newcomer):
        table.remove_contact(Contact(known.id, "198.51.100.9", 1))
    assert all(table.knows(known) for known in members)
    table.remove_contact(members[0])
    assert table.knows(newcomer)


def test_a_prefix_has_two_places_in_a_bucket() -> None:
    """Also later: those that wait for a place come from as many prefixes."""
    table = Table(OWN)
    for n in range(100):
        table.add_contact(Contact(near(n), f"81.2.69.{n}", 7474))
        table.add_contact(Contact(near(1000 + n), f"2a00:1450:4001:{n:x}::1", 7474))
    assert len(table) == 2 * MAX_PER_PREFIX
    table, members, _ = full_bucket()
    for n in range(100):
        table.add_contact(Contact(b"\xf8" + bytes(17) + bytes([1, n]), f"81.2.69.{n}", 7474))
    for known in members:
        table.remove_contact(known)
    assert sum(one.prefix == "81.2.69.0/24" for one in table) <= MAX_PER_PREFIX


def test_a_crowd_is_not_let_in_by_moving_to_one_prefix() -> None:
    table = Table(OWN)
    for n in range(10):
        table.add_contact(contact(near(n), n))
    for n in range(10):
        table.add_contact(Contact(near(n), f"81.2.69.{n}", 7474))
    assert sum(one.prefix == "81.2.69.0/24" for one in table) == MAX_PER_PREFIX


def test_a_known_contact_of_a_full_prefix_is_freshened() -> None:
    table = Table(OWN)
    for n in range(MAX_PER_PREFIX):
        table.add_contact(Contact(near(n), f"81.2.69.{n}", 7474))
    table.add_contact(Contact(near(0), "81.2.69.0", 7474))
    assert [one.id for one in table] == [near(1), near(0)]


@pytest.mark.parametrize("private", ["127.0.0.{}", "10.0.0.{}", "192.168.1.{}", "fd00::{}", "::1"])
def test_prefixes_of_private_networks_count_only_where_that_is_asked_for(private: str) -> None:
    for exempt, expected in ((True, K), (False, MAX_PER_PREFIX)):
        table = Table(OWN, local_exempt=exempt)
        for n in range(K):
            table.add_contact(Contact(near(n), private.format(n), 7474 + n))
        assert len(table) == expected


def test_nobody_is_told_of_a_narrower_network_than_its_own() -> None:
    table = Table(OWN)
    hosts = ["203.0.114.1", "198.51.101.1", "192.168.1.1", "127.0.0.1"]
    for n, name in enumerate(["8.8.8.8", "9.9.9.9", *hosts[2:]]):
        table.add_contact(Contact(near(n), name, 7474))

    def told(asker: str) -> set[str]:
        return {one.ip for one in table.find_neighbors(point(OWN), exclude=Contact(near(99), asker, 1))}

    assert told("1.1.1.1") == {"8.8.8.8", "9.9.9.9"}
    assert told("192.168.1.7") == {"8.8.8.8", "9.9.9.9", "192.168.1.1"}
    assert told("127.0.0.1") == {"8.8.8.8", "9.9.9.9", "192.168.1.1", "127.0.0.1"}


def test_the_asker_and_the_target_are_not_named() -> None:
    table, known = filled([near(n) for n in range(5)])
    found = table.find_neighbors(known[0], exclude=known[1])
    assert {one.id for one in found} == {near(2), near(3), near(4)}


def test_this_node_is_no_contact_of_its_own() -> None:
    table = Table(OWN)
    assert table.add_contact(contact(OWN)) is None
    assert len(table) == 0


def test_ranges_in_which_nothing_was_looked_up() -> None:
    table, _ = filled([near(n) for n in range(30)])
    first = table.buckets[0]
    for bucket in table.buckets:
        bucket.last_updated = 100.0
    assert table.stale_ranges(150.0, 60.0) == []
    assert table.stale_ranges(161.0, 60.0) == [bucket.range for bucket in table.buckets]
    table.touch(point(OWN))
    assert first.last_updated != 100.0
