"""The files that a job saves, one for each unit of an action's last stage.

Until the job ends, they are in its folder. Each action that saves files has a folder of its own there, because later
actions may save too. The user sees these folders only if there are several.
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from p2p import causes, private
from p2p.errors import ConfigError, StorageError
from p2p.store.disk import Disk

if TYPE_CHECKING:
    from p2p.compute.owner.outputs import Outputs

PARTS_AT_ONCE = 16
SAVED = re.compile(r"part-\d{5,}|action-\d{3,}")


def name_of(action: int) -> str:
    """Returns the name of an action's folder."""
    return f"action-{action:03}"


def part_of(number: int) -> str:
    """Returns the name of a partition's file."""
    return f"part-{number:05}"


def check_out(out: Path) -> None:
    """Raises ConfigError if `out` has files of an earlier result, because the parts of two results would be mixed."""
    try:
        there = next((name for name in sorted(os.listdir(out)) if SAVED.fullmatch(name)), None)
    except FileNotFoundError:
        return
    except OSError as error:
        raise ConfigError(
            f"Cannot write a result to {out}: {causes.explained(error, 'Name another folder.')}"
        ) from error
    if there is not None:
        raise ConfigError(f"{out} has an earlier result ({there}): name another folder, or remove that first.")


def files_in(out: Path) -> list[Path]:
    """Returns the files of a result that was handed out, in order."""
    found = [*out.glob("part-*"), *out.glob("action-*/part-*")]
    return sorted(path for path in found if all(map(SAVED.fullmatch, path.relative_to(out).parts)))


def folder_of(saved: Path) -> Path | None:
    """Returns the folder to hand out: that of the only action in `saved`, or `saved` itself if there are several.

    None if nothing was saved.
    """
    try:
        names = os.listdir(saved)
    except FileNotFoundError:
        return None
    return saved / names[0] if len(names) == 1 and (saved / names[0]).is_dir() else saved


async def save(outputs: "Outputs", disk: Disk, stage: int, count: int, folder: Path) -> None:
    """Writes what the `count` units of a stage have made. Raises StorageError, OutputsLost."""
    for first in range(0, count, PARTS_AT_ONCE):
        numbers = range(first, min(first + PARTS_AT_ONCE, count))
        parts = await outputs.get([(stage, number, 0) for number in numbers])
        await disk.run(_write, folder, numbers, parts)


def _write(folder: Path, numbers: Sequence[int], parts: Sequence[bytes]) -> None:
    try:
        private.make_folder(folder)
        for number, part in zip(numbers, parts, strict=True):
            private.write(folder / part_of(number), part)
    except OSError as error:
        raise StorageError(f"Cannot keep the job's files in {folder}: {causes.explained(error)}") from error
