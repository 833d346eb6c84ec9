"""The routing table of the DHT: kademlia's buckets, with what its own table lacks.

* A contact enters only once it has answered (`net.dht` sees to that), and at most two of one network prefix are in a
  bucket, so that whoever holds a whole /24 does not hold the table.
* `find_neighbors` is exact: upstream's traverser can stop with most of the table unread.
* `add_contact` starts nothing: it returns the contact to be pinged before a newcomer may take its place.

Source: Maymounkov and Mazieres, "Kademlia" (2002), sections 2.4 and 4.1; the package `kademlia`.
"""

import heapq
from collections.abc import Iterator

from kademlia.node import Node
from kademlia.routing import RoutingTable

from p2p.wire.address import Scope, prefix, scope

K = 20
"""Contacts in a bucket, and holders of a record."""
MOST_OF_A_PREFIX = 2


class Contact(Node):  # type: ignore[misc]
    """A node of the DHT: its id (20 bytes), IP address and UDP port."""

    id: bytes
    ip: str
    port: int
    long_id: int

    def __init__(self, node_id: bytes, host: str, port: int) -> None:
        super().__init__(node_id, host, port)
        self.prefix = prefix(host)

    @property
    def address(self) -> tuple[str, int]:
        return self.ip, self.port


def point(node_id: bytes) -> Node:
    """A place in the id space, to measure distances from."""
    return Node(node_id)


class Table(RoutingTable):  # type: ignore[misc]
    """Contacts by distance from this node. `local_exempt`: prefixes of loopback and private networks do not count."""

    def __init__(self, node_id: bytes, *, local_exempt: bool = True) -> None:
        super().__init__(None, K, point(node_id))
        self._local_exempt = local_exempt

    def __len__(self) -> int:
        return sum(len(bucket.nodes) for bucket in self.buckets)

    def __iter__(self) -> Iterator[Contact]:
        for bucket in self.buckets:
            yield from bucket.nodes.values()

    def get_bucket_for(self, node: Node) -> int:
        """The index of the bucket in whose range the node is, both ends included as in `KBucket.split`."""
        for index, bucket in enumerate(self.buckets):
            if node.long_id <= bucket.range[1]:
                return index
        raise AssertionError("the buckets cover all ids")

    def get(self, node_id: bytes) -> Contact | None:
        """The contact with this id."""
        found: Contact | None = self.buckets[self.get_bucket_for(point(node_id))][node_id]
        return found

    def add_contact(self, node: Contact) -> Contact | None:
        """Adds or freshens a contact that has just answered. Returns one that must be pinged to make room, or None."""
        if node.id == self.node.id:
            return None
        while True:
            index = self.get_bucket_for(node)
            bucket = self.buckets[index]
            if bucket.is_new_node(node) and self._crowded(bucket.nodes.values(), node):
                return None
            if bucket.add_node(node):
                return None
            splittable = bucket.range[1] > bucket.range[0]
            if splittable and (bucket.has_in_range(self.node) or bucket.depth() % 5 != 0):
                self.split_bucket(index)
                continue
            oldest: Contact = bucket.head()
            return oldest

    def find_neighbors(self, node: Node, k: int | None = None, exclude: Node | None = None) -> list[Contact]:
        """The `k` contacts nearest to the node, nearest first, without itself and whoever sits at `exclude`."""
        near = (
            contact
            for contact in self
            if contact.id != node.id and not (exclude is not None and contact.same_home_as(exclude))
        )
        return heapq.nsmallest(k or self.ksize, near, key=node.distance_to)

    def stale_ranges(self, now: float, older_than_s: float) -> list[tuple[int, int]]:
        """The id ranges (both ends included) of the buckets in which nothing was looked up for so long.

        `now` is of the monotonic clock with which kademlia marks its buckets.
        """
        return [bucket.range for bucket in self.buckets if now - bucket.last_updated > older_than_s]

    def touch(self, node: Node) -> None:
        """Something was looked up in the node's bucket."""
        self.buckets[self.get_bucket_for(node)].touch_last_updated()

    def _crowded(self, others: "list[Contact]", node: Contact) -> bool:
        if self._local_exempt and scope(node.ip) != Scope.GLOBAL:
            return False
        return sum(other.prefix == node.prefix for other in others) >= MOST_OF_A_PREFIX
