"""What a job's owner has of the outputs of the running action's units: the outputs, or where they are kept.

Every accepted result goes into the journal, many in one transaction, so that its unit need not run again, whatever
happens to this process. Small outputs are in the journal, and the latest also in memory. Large ones are files in the
job's folder, listed in the journal by the unit's id and digest. All of these outlive the volunteers. Other outputs stay
with the volunteers that made them, for the units that read them; if the volunteer is lost, its units run again.
"""

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import trio

from p2p import causes, private
from p2p.compute.execution.unit import cut, result_digest
from p2p.core.compute.known import Known
from p2p.core.compute.skipped import Skips
from p2p.errors import NotFound, StorageError
from p2p.ids import H, PeerId, to_text
from p2p.store.disk import Disk
from p2p.store.journal import Journal, JournalEntry
from p2p.wire import work

INLINE = work.MAX_INLINE_BYTES
MAX_BYTES_IN_MEMORY = 128 * 1024 * 1024
MAX_PENDING_BYTES = 32 * 1024 * 1024
"""How many bytes may wait to be written; if there are more, results of volunteers must wait as well."""
ENTRY_BYTES = 300
WRITE_INTERVAL_S = 0.05
"""How long results wait so that others can be written with them."""


class Large(NamedTuple):
    """A file that contains the outputs of a unit, one after another, and the sizes of these outputs."""

    path: Path
    sizes: tuple[int, ...]


class Remote(NamedTuple):
    """Outputs kept by the volunteer that made them, with the id of their unit and the digest of the result."""

    unit: bytes
    digest: bytes
    sizes: tuple[int, ...]
    holder: PeerId


class OutputsLost(NotFound):
    """Raised if outputs cannot be read because they are lost. The unit that made them runs again."""


StoredOutputs = list[bytes] | Large | Remote
_Place = tuple[int, int]


class Outputs:
    """The outputs of the units of one job's running action, by stage and partition."""

    def __init__(self, journal: Journal, disk: Disk, job: bytes, folder: Path) -> None:
        self._journal = journal
        self._disk = disk
        self._job = job
        self._folder = folder
        self._action = 0
        self._small: dict[_Place, list[bytes]] = {}
        self._in_memory = 0
        self._large: dict[_Place, Large] = {}
        self._remote: dict[_Place, Remote] = {}
        self._places: dict[bytes, _Place] = {}
        self._pending: list[JournalEntry] = []
        self._pending_bytes = 0
        self._news = trio.Event()
        self._urgent = trio.Event()
        self._written = trio.Event()
        self._writing = False
        self.failure: StorageError | None = None
        """Why nothing can be kept any more; if this is set, the job cannot go on."""

    # Results that arrive.

    async def verified(self, path: Path, unit: bytes, sizes: Sequence[int], digest: bytes) -> Large | None:
        """Takes ownership of a file with a unit's outputs.

        Deletes it and returns None if they do not match the digest.
        """
        return await self._disk.run(self._take_over, path, unit, tuple(sizes), digest)

    def keep(self, known: Known, made: StoredOutputs, skips: Skips | None = None) -> None:
        """Accepts a result. It counts from now on, and is written soon. `skips` is as in `JournalEntry`."""
        place = known.stage, known.partition
        self._drop(place)
        if isinstance(made, Remote):
            self._remote[place] = made
            self._places[made.unit] = place
            entry, size = JournalEntry(known, self._action, made.sizes, None, skips), ENTRY_BYTES
        elif isinstance(made, Large):
            self._large[place] = made
            entry, size = JournalEntry(known, self._action, made.sizes, None, skips), ENTRY_BYTES
        else:
            entry = JournalEntry(known, self._action, tuple(map(len, made)), b"".join(made), skips)
            size = ENTRY_BYTES + len(entry.outputs or b"")
            self._remember(place, made)
        self._pending.append(entry)
        self._pending_bytes += size
        self._news.set()

    async def store(self, unit: bytes, outputs: list[bytes]) -> StoredOutputs:
        """Stores a unit's outputs, in a file if they are large. Raises StorageError."""
        if sum(map(len, outputs)) <= INLINE:
            return outputs
        return await self._disk.run(self._store, unit, outputs)

    async def room(self) -> None:
        """Waits while too many bytes are still to be written. Raises StorageError."""
        await self._while(lambda: self._pending_bytes > MAX_PENDING_BYTES)

    async def write(self) -> None:
        """Writes what is kept, until it is cancelled or the disk fails."""
        while self.failure is None:
            await self._news.wait()
            with trio.move_on_after(WRITE_INTERVAL_S):
                await self._urgent.wait()
            self._news, self._urgent = trio.Event(), trio.Event()
            entries, self._writing = self._pending, True
            self._pending, self._pending_bytes = [], 0
            try:
                # This must not stop half-way: what a job accepted before it was stopped must be there when it resumes.
                with trio.CancelScope(shield=True):
                    await self._disk.run(self._journal.accept, self._job, entries)
            except StorageError as error:
                self.failure = error
            self._writing = False
            self._forget_some()
            self._written.set()
            self._written = trio.Event()

    async def settle(self) -> None:
        """Waits until everything kept is written. Raises StorageError."""
        await self._while(lambda: bool(self._pending) or self._writing)

    async def _while(self, waits: Callable[[], bool]) -> None:
        while waits() and self.failure is None:
            self._urgent.set()
            await self._written.wait()
        if self.failure is not None:
            raise self.failure

    # Results that other peers keep.

    def remote(self, stage: int, partition: int) -> Remote | None:
        """Returns where a unit's outputs are, or None if they are here."""
        return self._remote.get((stage, partition))

    def place_of(self, unit: bytes) -> _Place | None:
        """Returns the stage and partition of a unit whose outputs are elsewhere."""
        return self._places.get(unit)

    def lost(self, holder: PeerId) -> None:
        """Forgets what this holder kept, which is lost."""
        for place in [place for place, remote in self._remote.items() if remote.holder == holder]:
            self._drop(place)

    def lost_unit(self, unit: bytes) -> None:
        """Forgets what was kept of this unit, which is lost."""
        place = self._places.get(unit)
        if place is not None:
            self._drop(place)

    # Results that are read.

    async def get(self, wanted: Sequence[tuple[int, int, int]]) -> list[bytes]:
        """Returns single outputs of completed units, each given by stage, partition and number.

        Raises StorageError, OutputsLost.
        """
        try:
            return [self._small[stage, partition][number] for stage, partition, number in wanted]
        except KeyError:
            await self.settle()
            return await self._disk.run(self._read, wanted)

    # Actions.

    async def begin(self, action: int, *, again: bool) -> list[Known]:
        """Begins the next action.

        With `again`, an earlier process had begun it, and its journaled results are returned.
        """
        self._action = action
        return await self._disk.run(self._recall) if again else []

    async def finish(self, digest: bytes, result: bytes) -> None:
        """Journals the action's result, and forgets its outputs. Raises StorageError."""
        # Results of its units that are not written yet are no longer needed.
        self._pending.clear()
        self._pending_bytes = 0
        await self.settle()
        await self._disk.run(self._finish, digest, result)
        self._small.clear()
        self._large.clear()
        self._remote.clear()
        self._places.clear()
        self._in_memory = 0

    # In memory.

    def _drop(self, place: _Place) -> None:
        remote = self._remote.pop(place, None)
        if remote is not None:
            self._places.pop(remote.unit, None)
        before = self._small.pop(place, None)
        if before is not None:
            self._in_memory -= ENTRY_BYTES + sum(map(len, before))
        self._large.pop(place, None)

    def _remember(self, place: _Place, made: list[bytes]) -> None:
        self._small[place] = made
        self._in_memory += ENTRY_BYTES + sum(map(len, made))

    def _forget_some(self) -> None:
        """If too much is in memory, forgets the oldest outputs that are in the journal as well."""
        unwritten = {(entry.known.stage, entry.known.partition) for entry in self._pending}
        for place in list(self._small) if self._in_memory > MAX_BYTES_IN_MEMORY else ():
            if self._in_memory <= MAX_BYTES_IN_MEMORY // 2:
                break
            if place not in unwritten:
                self._in_memory -= ENTRY_BYTES + sum(map(len, self._small.pop(place)))

    # In threads.

    def _finish(self, digest: bytes, result: bytes) -> None:
        self._journal.finish(self._job, self._action, digest, result)
        shutil.rmtree(self._folder, True)

    def _take_over(self, path: Path, unit: bytes, sizes: tuple[int, ...], digest: bytes) -> Large | None:
        target = self._path(unit, digest)
        try:
            outputs = cut(path.read_bytes(), sizes)
            if outputs is None or result_digest(outputs) != digest:
                path.unlink()
                return None
            private.make_folder(self._folder)
            path.rename(target)
        except OSError as error:
            raise _failed(self._folder, error) from error
        return Large(target, sizes)

    def _store(self, unit: bytes, outputs: list[bytes]) -> Large:
        target = self._path(unit, result_digest(outputs))
        made = target.with_suffix(".part")
        try:
            private.make_folder(self._folder)
            with open(made, "wb", opener=private.opener) as file:
                file.writelines(outputs)
            made.rename(target)
        except OSError as error:
            raise _failed(self._folder, error) from error
        return Large(target, tuple(map(len, outputs)))

    def _path(self, unit: bytes, digest: bytes) -> Path:
        # A second attempt with another result must not replace what was accepted.
        return self._folder / to_text(H("outputs", unit, digest))

    def _read(self, wanted: Sequence[tuple[int, int, int]]) -> list[bytes]:
        found: list[bytes] = []
        for stage, partition, number in wanted:
            small, large = self._small.get((stage, partition)), self._large.get((stage, partition))
            if small is not None:
                found.append(small[number])
                continue
            if large is not None:
                found.append(_part(large, number))
                continue
            output = self._journal.output(self._job, self._action, stage, partition, number)
            if output is None:
                raise OutputsLost(f"the outputs of partition {partition} of stage {stage} are lost")
            found.append(output)
        return found

    def _recall(self) -> list[Known]:
        known = {(one.stage, one.partition): one for one in self._journal.replay(self._job)}
        for stage in {stage for stage, _ in known}:
            for partition, sizes, outputs in self._journal.outputs(self._job, self._action, stage):
                place = stage, partition
                holder = known[place].holder
                if outputs is None and holder is not None:
                    remote = Remote(known[place].unit, known[place].digest, sizes, holder)
                    self._remote[place] = remote
                    self._places[remote.unit] = place
                elif outputs is None:
                    large = Large(self._path(known[place].unit, known[place].digest), sizes)
                    if _is_whole(large, known[place].digest):
                        self._large[place] = large
                    else:
                        del known[place]
                elif self._in_memory < MAX_BYTES_IN_MEMORY // 2:
                    self._remember(place, cut(outputs, sizes) or [])
        return list(known.values())


def _part(large: Large, number: int) -> bytes:
    size = large.sizes[number]
    try:
        with large.path.open("rb") as file:
            found = os.pread(file.fileno(), size, sum(large.sizes[:number]))
    except OSError as error:
        raise _failed(large.path, error) from error
    if len(found) != size:
        raise StorageError(f"{large.path} is shorter than it was.")
    return found


def _is_whole(large: Large, digest: bytes) -> bool:
    """Whether a file still has all that was written: if the machine lost power, the end of the file may be missing."""
    try:
        outputs = cut(large.path.read_bytes(), large.sizes)
    except OSError:
        return False
    return outputs is not None and result_digest(outputs) == digest


def _failed(path: Path, error: OSError) -> StorageError:
    return StorageError(f"Cannot keep the outputs of units in {path}: {causes.explained(error)}")
