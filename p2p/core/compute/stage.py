"""The units of one stage: which wait, which run and where, which are done and who holds their outputs.

A unit is FRESH until it is sent for the first time, RUNNING while anybody runs it, AGAIN when nobody does any more, and
DONE once a result was accepted. A DONE unit whose output nobody holds is `gone`; it runs AGAIN if, and as soon as,
somebody needs it. Every step takes constant time, however many units there are.
"""

import math
from collections import deque
from collections.abc import Callable, Iterable

from p2p.core.compute.plan import results_digest, unit_id
from p2p.ids import PeerId

FRESH, AGAIN, RUNNING, DONE = range(4)
LOOK = 64
"""How many units that a volunteer may not have are passed over to find those that it may."""


class Durations:
    """Quantiles of durations in constant memory: a histogram with buckets a fifth apart."""

    _BUCKETS, _LEAST_S, _STEPS = 128, 1e-4, 4

    def __init__(self) -> None:
        self.count = 0
        self._buckets = [0] * self._BUCKETS

    def add(self, seconds: float) -> None:
        bucket = int(math.log2(seconds / self._LEAST_S) * self._STEPS) + 1 if seconds > self._LEAST_S else 0
        self._buckets[min(bucket, self._BUCKETS - 1)] += 1
        self.count += 1

    def quantile(self, fraction: float) -> float:
        """The upper end of the quantile's bucket, in seconds; infinite if there are no durations."""
        passed, goal = 0, fraction * self.count
        for bucket, count in enumerate(self._buckets):
            passed += count
            if count and passed >= goal:
                return float(self._LEAST_S * 2.0 ** (bucket / self._STEPS))
        return math.inf


class Trouble:
    """The history of a unit that failed."""

    def __init__(self) -> None:
        self.failures = self.losses = self.judged = 0
        """How often it failed; took a volunteer down or could not read; and failed at the owner."""
        self.for_owner = False
        """Whether volunteers have had their turns, so that the owner must see for itself."""
        self.peers: set[PeerId] = set()
        """The volunteers where it failed: it is tried elsewhere first."""
        self.accusers: dict[PeerId, str] = {}
        """The volunteers that blame the job, each with its relation: unrelated ones are asked next."""


class StageUnits:
    """The units of the stage `index`, which reads the stages `reads` and is read by `readers`."""

    def __init__(self, index: int, count: int, reads: tuple[int, ...], readers: tuple[int, ...]) -> None:
        self.index = index
        self.count = count
        self.reads = reads
        self.readers = readers
        self.waiting = count
        self.done = 0
        self.running: dict[int, list[PeerId]] = {}
        """Which peers run each unit; the units that have run longest come first."""
        self.gone: set[int] = set()
        self.troubles: dict[int, Trouble] = {}
        self.turnaround = Durations()
        self._context: bytes | None = None
        self._states = bytearray(count)
        self._digests: list[bytes | None] = [None] * count
        self._held: dict[PeerId, set[int]] = {}
        self._holders: dict[int, PeerId] = {}
        self._fresh = deque(range(count))
        self._near: dict[PeerId, deque[int]] = {}
        self._again: deque[int] = deque()

    @property
    def complete(self) -> bool:
        return self.done == self.count

    def named(self, context: bytes) -> None:
        """Sets the context from which the units' ids follow; it is known once all stages that this one reads are."""
        assert self._context in (None, context)
        self._context = context

    @property
    def is_named(self) -> bool:
        return self._context is not None

    def unit(self, partition: int) -> bytes:
        """The unit's id."""
        assert self._context is not None
        return unit_id(self._context, partition)

    def state(self, partition: int) -> int:
        return self._states[partition]

    def digest(self, partition: int) -> bytes | None:
        """The digest of the accepted result, if there ever was one."""
        return self._digests[partition]

    def holder(self, partition: int) -> PeerId | None:
        """Who holds the output of a done unit. None means the owner, or nobody if the output is gone."""
        return self._holders.get(partition)

    def all_results(self) -> bytes:
        """One digest for all results; the stage must be complete."""
        return results_digest([digest for digest in self._digests if digest is not None])

    def prefer(self, peer: PeerId, partitions: Iterable[int]) -> None:
        """The peer already has the inputs of these partitions, so it gets them first."""
        self._near[peer] = deque(partitions)

    def forget(self, peer: PeerId) -> None:
        self._near.pop(peer, None)

    def take(self, peer: PeerId, most: int, may: Callable[[int], bool]) -> list[int]:
        """Up to `most` waiting units, which the peer runs from now on. `may` decides about those tried before."""
        taken: list[int] = []
        for _ in range(min(len(self._again), LOOK + most)):
            if len(taken) == most:
                break
            partition = self._again.popleft()
            if self._states[partition] == AGAIN:
                if may(partition):
                    self.start(partition, peer)
                    taken.append(partition)
                else:
                    self._again.append(partition)
        near = self._near.get(peer)
        for source in (near, self._fresh):
            while source and len(taken) < most:
                partition = source.popleft()
                if self._states[partition] == FRESH:
                    self.start(partition, peer)
                    taken.append(partition)
        return taken

    def start(self, partition: int, peer: PeerId) -> None:
        """The peer runs the unit from now on."""
        if self._states[partition] == RUNNING:
            self.running[partition].append(peer)
            return
        assert self._states[partition] != DONE
        self._states[partition] = RUNNING
        self.running[partition] = [peer]
        self.waiting -= 1

    def stop(self, partition: int, peer: PeerId) -> bool:
        """The peer no longer runs the unit, and there is no result of it. Returns whether it has to run again."""
        peers = self.running[partition]
        peers.remove(peer)
        if peers:
            return False
        del self.running[partition]
        self._wait(partition)
        return True

    def finish(self, partition: int, digest: bytes, holder: PeerId | None) -> list[PeerId]:
        """The unit is done. Returns the peers that were running it."""
        if self._states[partition] != RUNNING:
            assert self._states[partition] != DONE
            self.waiting -= 1
        self._states[partition] = DONE
        self._digests[partition] = digest
        self.done += 1
        self._hold(partition, holder)
        self.troubles.pop(partition, None)
        return self.running.pop(partition, [])

    def kept(self, partition: int) -> None:
        """From now on the owner has the output too."""
        if self._states[partition] == DONE:
            self._hold(partition, None)
            self.gone.discard(partition)

    def unheld(self, peer: PeerId) -> None:
        """The peer's outputs are no longer available."""
        for partition in self._held.pop(peer, ()):
            self._gone(partition)

    def missing(self, partition: int, peer: PeerId) -> None:
        """This output is no longer available from the peer."""
        held = self._held.get(peer, set())
        if partition in held:
            held.remove(partition)
            self._gone(partition)

    def revive(self) -> list[int]:
        """Makes the units whose outputs are gone run again. Returns them."""
        revived = sorted(self.gone)
        self.gone.clear()
        self.done -= len(revived)
        for partition in revived:
            self._wait(partition)
        return revived

    def trouble(self, partition: int) -> Trouble:
        return self.troubles.setdefault(partition, Trouble())

    def _wait(self, partition: int) -> None:
        self._states[partition] = AGAIN
        self._again.append(partition)
        self.waiting += 1

    def _hold(self, partition: int, holder: PeerId | None) -> None:
        before = self._holders.pop(partition, None)
        if before is not None:
            self._held[before].discard(partition)
        if holder is not None:
            self._holders[partition] = holder
            self._held.setdefault(holder, set()).add(partition)

    def _gone(self, partition: int) -> None:
        self._holders.pop(partition, None)
        if self._states[partition] == DONE:
            self.gone.add(partition)
