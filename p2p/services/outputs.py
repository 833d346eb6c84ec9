"""Outputs of units, as their owner keeps them for those that read them: small ones in memory, large ones on disk."""

import shutil
from pathlib import Path

import trio

from p2p.wire import work

INLINE = work.MAX_INLINE_BYTES


class Outputs:
    """What units have made, by stage and partition; large ones on disk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._small: dict[tuple[int, int], list[bytes]] = {}
        self._large: dict[tuple[int, int], tuple[Path, list[int]]] = {}

    async def keep(self, stage: int, partition: int, outputs: list[bytes]) -> None:
        size = sum(map(len, outputs))
        if size <= INLINE:
            self._small[stage, partition] = outputs
            return
        path = self._folder / f"{stage}-{partition}"
        await trio.to_thread.run_sync(_write, path, outputs)
        self._large[stage, partition] = (path, list(map(len, outputs)))

    async def get(self, stage: int, partition: int, index: int) -> bytes:
        """One output of a unit that is done."""
        small = self._small.get((stage, partition))
        if small is not None:
            return small[index]
        path, sizes = self._large[stage, partition]
        return await trio.to_thread.run_sync(_read_part, path, sum(sizes[:index]), sizes[index])

    async def clear(self) -> None:
        self._small.clear()
        self._large.clear()
        await trio.to_thread.run_sync(shutil.rmtree, self._folder, True)


def _write(path: Path, outputs: list[bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.writelines(outputs)


def _read_part(path: Path, offset: int, size: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(size)
