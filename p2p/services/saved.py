"""The files that a job saves: in its folder as parts, one of each unit of the last stage, until the job has ended."""

from collections.abc import Sequence
from pathlib import Path

import trio

from p2p.errors import StorageError
from p2p.services.outputs import Outputs

PARTS_AT_ONCE = 16


async def save(outputs: Outputs, stage: int, count: int, folder: Path) -> None:
    """Writes what the units of a stage, so many, have made. Raises StorageError, Lost."""
    for first in range(0, count, PARTS_AT_ONCE):
        numbers = range(first, min(first + PARTS_AT_ONCE, count))
        parts = await outputs.get([(stage, number, 0) for number in numbers])
        await trio.to_thread.run_sync(_write, folder, numbers, parts)


def _write(folder: Path, numbers: Sequence[int], parts: Sequence[bytes]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for number, part in zip(numbers, parts, strict=True):
            (folder / f"part-{number:05}").write_bytes(part)
    except OSError as error:
        raise StorageError(f"Cannot keep the job's files in {folder}: {error.strerror}. Is the disk full?") from error
