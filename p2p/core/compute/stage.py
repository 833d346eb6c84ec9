"""The units of one stage: which wait, which run and where, which are done and who holds their outputs.

A unit is FRESH until it is first sent, RUNNING while any peer runs it, AGAIN when no peer runs it any more but it still
lacks a result, and DONE once a result was accepted. A DONE unit whose output nobody holds is `gone`; it becomes AGAIN
as soon as its output is needed. Every step takes constant time, however many units there are.
"""

import math
from collections import deque
from collections.abc import Callable, Iterable

from p2p.core.compute.plan import results_digest, unit_id
from p2p.ids import PeerId

FRESH, AGAIN, RUNNING, DONE = range(4)
LOOK = 64
"""How many units that a volunteer may not have are skipped in search of units that it may have."""


class Durations:
    """Quantiles of durations in constant memory: a histogram; each bucket's bound is a fifth above the one before."""

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
    """How often a unit has failed, at which volunteers, and whom they blame."""

    def __init__(self) -> None:
        self.failures = self.losses = self.judged = 0
        """Counts for the unit: failures; volunteers that vanished or could not read; failures at the owner."""
        self.for_owner = False
        """Whether volunteers have tried often enough, so that the owner must run the unit itself."""
        self.peers: set[PeerId] = set()
        """The volunteers at which the unit failed: it is tried at others first."""
        self.outlasted: set[PeerId] = set()
        """The volunteers that ended the unit because it ran for as long as they let a unit run."""
        self.accusers: dict[PeerId, str] = {}
        """The volunteers that blame the job, each with its relation: unrelated volunteers are asked next."""
        self.shows_later = False
        """Whether what they say may show only in a guest that has run other units before."""


class StageUnits:
    """The units of stage number `index`, which reads the stages `reads` and is read by the stages `readers`."""

    def __init__(self, index: int, count: int, reads: tuple[int, ...], readers: tuple[int, ...]) -> None:
        self.index = index
        self.count = count
        self.reads = reads
        self.readers = readers
        self.waiting = count
        self.done = 0
        self.running: dict[int, list[PeerId]] = {}
        """Which peers run each unit; the units that have been running longest come first."""
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
        """Sets the context of the units' ids, which is known once all stages that this one reads are complete."""
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
        """The digest of the unit's accepted result, or None if none was ever accepted."""
        return self._digests[partition]

    def holder(self, partition: int) -> PeerId | None:
        """Who holds the output of a done unit. None means the owner, or nobody if the output is gone."""
        return self._holders.get(partition)

    def all_results(self) -> bytes:
        """One digest of all results; the stage must be complete."""
        return results_digest([digest for digest in self._digests if digest is not None])

    def prefer(self, peer: PeerId, partitions: Iterable[int]) -> None:
        """Records that the peer already has the inputs of these partitions, so it gets them first."""
        self._near[peer] = deque(partitions)

    def forget(self, peer: PeerId) -> None:
        self._near.pop(peer, None)

    def take(self, peer: PeerId, most: int, may: Callable[[int], bool]) -> list[int]:
        """Gives the peer up to `most` waiting units, which it returns. `may` decides about units tried before."""
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
        """Records that the peer runs the unit from now on."""
        if self._states[partition] == RUNNING:
            self.running[partition].append(peer)
            return
        assert self._states[partition] != DONE
        self._states[partition] = RUNNING
        self.running[partition] = [peer]
        self.waiting -= 1

    def stop(self, partition: int, peer: PeerId) -> bool:
        """Records that the peer stopped running the unit, without a result. Returns whether it has to run again."""
        peers = self.running[partition]
        peers.remove(peer)
        if peers:
            return False
        del self.running[partition]
        self._wait(partition)
        return True

    def finish(self, partition: int, digest: bytes, holder: PeerId | None) -> list[PeerId]:
        """Records that the unit is done. Returns the peers that were running it."""
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
        """Records that the owner now has the output too."""
        if self._states[partition] == DONE:
            self._hold(partition, None)
            self.gone.discard(partition)

    def unheld(self, peer: PeerId) -> None:
        """Records that the peer's outputs are no longer available."""
        for partition in self._held.pop(peer, ()):
            self._gone(partition)

    def missing(self, partition: int, peer: PeerId) -> None:
        """Records that this output is no longer available from the peer."""
        held = self._held.get(peer, set())
        if partition in held:
            held.remove(partition)
            self._gone(partition)

    def revive(self) -> list[int]:
        """Marks the units whose outputs are gone to run again. Returns them."""
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
