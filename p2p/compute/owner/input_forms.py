"""Finds the files of a job's inputs that cannot be cut into units, and checks that they can be read.

A file that is compressed, or in UTF-16, is recognised by its first bytes (`p2p.jobs.unpacking`). Where these would
first have to be fetched, that is done for a few files only; of the others, the name must say that they are compressed.
"""

import os
import shlex
from collections.abc import Sequence
from contextlib import suppress

import msgspec
import trio

from p2p.compute.execution.runner import MAX_UNIT_INPUT_BYTES
from p2p.compute.owner.deps import Deps
from p2p.compute.owner.dispatch import JobInput
from p2p.core.compute.plan import Plan
from p2p.core.shares.manifest import chunk_bytes
from p2p.errors import JobError, ShoalError
from p2p.formats import format_size
from p2p.ids import ShareId
from p2p.jobs.sources import OF_TEXT
from p2p.jobs.unpacking import COMPRESSED, HEAD_BYTES, form_named, form_of, read_whole
from p2p.sandbox import runtimes
from p2p.sandbox.limits import GuestLimits
from p2p.sandbox.runtimes import Runtime
from p2p.store.library import Library, SharedFiles

MAX_FETCHED_BYTES = 8 * 1024 * 1024
"""The most bytes to fetch of an input in order to look at the first bytes of its files."""
FETCH_TIMEOUT_S = 20.0


async def forms_of(deps: Deps, one: JobInput) -> dict[str, str]:
    """Returns the files of an input that cannot be cut, by path, each with its form. Raises StorageError."""
    found = await deps.disk.run(_forms_here, deps.library, one.share)
    return await _forms_there(deps, one) if found is None else found


def _forms_here(library: Library, share: ShareId) -> dict[str, str] | None:
    """Looks at the files of a share that is whole in the library; None if it is not. Blocks."""
    row = library.share(share)
    if row is None or row.stale:
        return None
    files = SharedFiles(library, share)
    if files.held != files.layout.everything:
        return None
    found = {}
    for entry in files.layout.files:
        # A file that is gone is reported when it is read.
        with suppress(OSError), files.reading(entry) as (descriptor, _):
            if form := form_of(os.pread(descriptor, HEAD_BYTES, 0)):
                found["/".join(files.layout.manifest.entries[entry].path)] = form
    return found


async def _forms_there(deps: Deps, one: JobInput) -> dict[str, str]:
    """Fetches the beginnings of some files, first of those whose names say nothing."""
    found = {path: form for path, _ in one.files if (form := form_named(path))}
    left, wanted = MAX_FETCHED_BYTES, []
    for path, size in one.files:
        left -= min(size, chunk_bytes(size))
        if path not in found and size and left >= 0:
            wanted.append(path)
    held = deps.open_shares.open(one.share, one.hints)

    async def look(path: str) -> None:
        with suppress(ShoalError):  # whoever reads the file says why it cannot be read
            if form := form_of(await held.read(path, 0, min(HEAD_BYTES, sizes[path]))):
                found[path] = form

    sizes = dict(one.files)
    try:
        with trio.move_on_after(FETCH_TIMEOUT_S):
            async with trio.open_nursery() as nursery:
                for path in wanted:
                    nursery.start_soon(look, path)
    finally:
        await deps.open_shares.release(held)
    return found


class InputForms:
    """The forms of a job's inputs, as far as it matters to the plans of one job."""

    def __init__(self, inputs: Sequence[JobInput], runtime: Runtime, limits: GuestLimits) -> None:
        self._inputs = inputs
        self._runtime = runtime
        self._most = min(limits.memory_bytes, MAX_UNIT_INPUT_BYTES)

    def labelled(self, plan: Plan) -> tuple[Plan, list[str]]:
        """Returns the plan with labels that say which stages read files whole, and sentences for the user.

        Raises JobError if a stage reads a file that no unit could read.
        """
        stages, said = list(plan.stages), list[str]()
        for number, stage in enumerate(stages):
            source = stage.source
            if source is None or source.kind not in OF_TEXT:
                continue
            inputs = self._inputs if source.input is None else [self._inputs[source.input]]
            files = [(path, size, one.forms[path]) for one in inputs for path, size in one.files if path in one.forms]
            for path, size, form in files:
                self._check(path, size, form)
            if files:
                count = "1 file" if len(files) == 1 else f"{len(files)} files"
                how = "unpacked" if self._runtime.resident else "given whole"
                stages[number] = msgspec.structs.replace(stage, label=f"{stage.label} ({count} {how}, a unit each)")
                said += read_whole(((path, form) for path, _, form in files), how)
        return msgspec.structs.replace(plan, stages=tuple(stages)), said

    def _check(self, path: str, size: int, form: str) -> None:
        if form in COMPRESSED and self._runtime.resident and form not in self._runtime.codecs:
            known = " and ".join(sorted(self._runtime.codecs)) or "none"
            able = [name for name, codecs in runtimes.CODECS.items() if form in codecs]
            other = f"Run the job with --runtime {able[0]}, which can, or decompress" if able else "Decompress"
            why = f"{self._runtime.name} cannot decompress {form}, as {path} needs: it has {known}."
            pattern = f"*.{form}" if path.endswith(f".{form}") else path.rpartition("/")[2]
            without = f"shoal share --unlisted --exclude {shlex.quote(pattern)} FOLDER"
            raise JobError(f"{why} {other} the file first. Or leave it out: give the link of `{without}` as input.")
        if size > self._most:
            more = "Give units more with --unit-memory, or decompress" if size <= MAX_UNIT_INPUT_BYTES else "Decompress"
            raise JobError(
                f"{path} is read whole by one unit, as it is {form}, and has {format_size(size)}; a unit is given at "
                f"most {format_size(self._most)}. {more} or convert it first, or split it."
            )
