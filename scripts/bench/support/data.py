"""The files a benchmark moves: random content, room for it, and the check that what arrived is what was sent."""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scripts.bench.support.measure import BenchError

BLOCK = 1 << 20
SPARE_BYTES = 256 << 20
FILES_PER_FOLDER = 100
UNITS = {"": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "KB": 10**3, "MB": 10**6, "GB": 10**9}


def parse_size(text: str) -> int:
    """Reads `256MiB`, `1GB` or plain bytes, as the command line of Shoal writes sizes. Raises ValueError."""
    match = re.fullmatch(r"(\d+)\s*([A-Za-z]*)", text)
    if match is None or match[2] not in UNITS or int(match[1]) == 0:
        raise ValueError(f"not a size: {text!r} (write 256MiB, 1GB or plain bytes)")
    return int(match[1]) * UNITS[match[2]]


def show_size(count: int) -> str:
    """Writes a size in binary units, with at most one decimal: `1 GiB`, `1.5 MiB`."""
    for unit in ("GiB", "MiB", "KiB"):
        if count >= UNITS[unit]:
            return f"{count / UNITS[unit]:.1f}".removesuffix(".0") + f" {unit}"
    return f"{count} B"


@contextmanager
def workspace(need_bytes: int, on_disk: bool = False) -> Iterator[Path]:
    """A folder with room for `need_bytes`, in memory unless told otherwise or memory is short; removed at the end."""
    memory = Path("/dev/shm")
    places = [Path(tempfile.gettempdir())]
    if not on_disk and memory.is_dir():
        places.insert(0, memory)
    for place in places:
        if shutil.disk_usage(place).free >= need_bytes + SPARE_BYTES:
            # A short name: the control socket's path inside must stay under the limit of the system.
            with tempfile.TemporaryDirectory(prefix="bench-", dir=place) as folder:
                yield Path(folder)
            return
    raise BenchError(f"no room for {show_size(need_bytes)} in {' or '.join(map(str, places))}; set TMPDIR")


def random_file(path: Path, size: int) -> Path:
    """Makes a file of `size` bytes that neither compress nor repeat."""
    with path.open("wb") as file:
        while size > 0:
            size -= file.write(os.urandom(min(size, BLOCK)))
    return path


def random_folder(path: Path, files: int, size: int) -> Path:
    """Makes `files` files of `size` bytes, a hundred per subfolder."""
    for number in range(files):
        folder = path / f"{number // FILES_PER_FOLDER:04}"
        if number % FILES_PER_FOLDER == 0:
            folder.mkdir(parents=True)
        (folder / f"{number:06}.bin").write_bytes(os.urandom(size))
    return path


def forget_cached(path: Path) -> None:
    """Write `path` out and drop it from the page cache, so that it is next read from the disk."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(fd)


def check_same(source: Path, result: Path) -> None:
    """Raises BenchError unless `result` has exactly the bytes of `source`; of folders, the same files and no others."""
    if source.is_file():
        if not result.is_file() or not _same_bytes(source, result):
            raise BenchError(f"WRONG RESULT: {result} differs from {source}")
        return
    names, arrived = _files(source), _files(result)
    if names != arrived:
        raise BenchError(f"WRONG RESULT: {result} has other files than {source}: {sorted(names ^ arrived)[:5]}")
    for name in names:
        if not _same_bytes(source / name, result / name):
            raise BenchError(f"WRONG RESULT: {result / name} differs from {source / name}")


def _files(folder: Path) -> set[str]:
    return {os.path.relpath(os.path.join(at, name), folder) for at, _, names in os.walk(folder) for name in names}


def _same_bytes(left: Path, right: Path) -> bool:
    if left.stat().st_size != right.stat().st_size:
        return False
    with left.open("rb", buffering=0) as one, right.open("rb", buffering=0) as other:
        while block := one.read(BLOCK):
            if block != other.read(BLOCK):
                return False
    return True
