"""The routing table of the DHT: the package kademlia's buckets, plus what kademlia's own table lacks.

* A contact enters only once it has answered (`net.dht` sees to that). A bucket has at most two contacts of one network
  prefix, including those that wait for a place in it, so that the holder of a whole /24 cannot fill the table.
* A contact is removed only under its own address: a peer that names it at another address cannot get it removed.
* `find_neighbors` is exact: kademlia's traverser can stop with most of the table unread.
* `add_contact` does no IO: it returns the contact to be pinged before a newcomer may take its place.

Source: Maymounkov and Mazieres, "Kademlia" (2002), sections 2.4 and 4.1; the package `kademlia`.
"""

import heapq
from collections.abc import Iterator
from functools import lru_cache
from itertools import chain

from kademlia.node import Node
from kademlia.routing import KBucket, RoutingTable

from p2p.wire.address import Scope, prefix, scope

K = 20
"""The number of contacts in a bucket, and of holders of a record."""
MAX_PER_PREFIX = 2


class Contact(Node):  # type: ignore[misc]
    """A node of the DHT: its id (20 bytes), IP address and UDP port."""

    id: bytes
    ip: str
    port: int
    long_id: int

    def __init__(self, node_id: bytes, host: str, port: int) -> None:
        super().__init__(node_id, host, port)
        self.prefix, self.scope = _place(host)

    @property
    def address(self) -> tuple[str, int]:
        return self.ip, self.port

    @property
    def key(self) -> tuple[bytes, str, int]:
        """Identifies the node at this address, as distinct from other addresses that somebody claims for the node."""
        return self.id, self.ip, self.port


@lru_cache(maxsize=4096)
def _place(host: str) -> tuple[str, int]:
    return prefix(host), scope(host)


def point(node_id: bytes) -> Node:
    """A point in the id space, to measure distances from."""
    return Node(node_id)


class Table(RoutingTable):  # type: ignore[misc]
    """Contacts by distance from this node. If `local_exempt`, loopback and private networks have no prefix limit."""

    def __init__(self, node_id: bytes, *, local_exempt: bool = True) -> None:
        super().__init__(None, K, point(node_id))
        self._local_exempt = local_exempt

    def __len__(self) -> int:
        return sum(len(bucket.nodes) for bucket in self.buckets)

    def __iter__(self) -> Iterator[Contact]:
        for bucket in self.buckets:
            yield from bucket.nodes.values()

    def get_bucket_for(self, node: Node) -> int:
        """The index of the bucket whose range, both ends included as in `KBucket.split`, has the node."""
        for index, bucket in enumerate(self.buckets):
            if node.long_id <= bucket.range[1]:
                return index
        raise AssertionError("the buckets cover all ids")

    def get(self, node_id: bytes) -> Contact | None:
        """The contact with this id."""
        found: Contact | None = self.buckets[self.get_bucket_for(point(node_id))][node_id]
        return found

    def knows(self, contact: Contact) -> bool:
        """Whether this contact is in the table, at this address."""
        known = self.get(contact.id)
        return known is not None and (known.ip, known.port) == (contact.ip, contact.port)

    def add_contact(self, node: Contact) -> Contact | None:
        """Adds or refreshes a contact that has just answered. Returns one that must be pinged to make room, or None."""
        if node.id == self.node.id:
            return None
        while True:
            index = self.get_bucket_for(node)
            bucket = self.buckets[index]
            if self._crowded(bucket, node):
                return None
            if bucket.add_node(node):
                return None
            splittable = bucket.range[1] > bucket.range[0]
            if splittable and (bucket.has_in_range(self.node) or bucket.depth() % 5 != 0):
                self.split_bucket(index)
                continue
            oldest: Contact = bucket.head()
            return oldest

    def remove_contact(self, node: Contact) -> None:
        """Forgets the contact, if it is at this address; the one that answered last may take its place."""
        bucket = self.buckets[self.get_bucket_for(node)]
        known = bucket.nodes.get(node.id) or bucket.replacement_nodes.get(node.id)
        if known is not None and known.address == node.address:
            bucket.remove_node(node)

    def find_neighbors(self, node: Node, k: int | None = None, exclude: Contact | None = None) -> list[Contact]:
        """The `k` contacts nearest to the node, nearest first, without the node itself.

        `exclude` is the contact to which they will be sent: no contact at its address is included, nor any with an
        address of narrower scope (`address.may_tell`).
        """
        near = (
            contact
            for contact in self
            if contact.id != node.id
            and (exclude is None or (contact.scope >= exclude.scope and not contact.same_home_as(exclude)))
        )
        return heapq.nsmallest(k or self.ksize, near, key=node.distance_to)

    def stale_ranges(self, now: float, older_than_s: float) -> list[tuple[int, int]]:
        """The id ranges (both ends included) of buckets in which nothing was looked up for `older_than_s`.

        `now` is a time of the monotonic clock with which kademlia marks its buckets.
        """
        return [bucket.range for bucket in self.buckets if now - bucket.last_updated > older_than_s]

    def touch(self, node: Node) -> None:
        """Records that something was looked up in the node's bucket."""
        self.buckets[self.get_bucket_for(node)].touch_last_updated()

    def _crowded(self, bucket: KBucket, node: Contact) -> bool:
        if self._local_exempt and node.scope != Scope.GLOBAL:
            return False
        others: Iterator[Contact] = chain(bucket.nodes.values(), bucket.replacement_nodes.values())
        return sum(other.prefix == node.prefix and other.id != node.id for other in others) >= MAX_PER_PREFIX
