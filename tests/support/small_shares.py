"""Shares of known bytes, and naive ways of making and fetching them, which the real ones are compared with."""

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from blake3 import blake3

from p2p.core.shares import manifest as manifests
from p2p.core.shares import names
from p2p.core.shares.layout import Layout
from p2p.core.shares.local_names import Told
from p2p.core.shares.manifest import Entry, EntryKind, Manifest, ShareLimits
from p2p.store.fetches import Fetches, FetchRecord
from p2p.store.target import Target

CHUNK = manifests.MIN_CHUNK_BYTES


def noise(seed: int, size: int) -> bytes:
    """Bytes without repetition."""
    return random.Random(seed).randbytes(size)


def hashes_of(data: bytes) -> bytes:
    """The chunk hashes of a file's bytes, in order."""
    each = manifests.chunk_bytes(len(data))
    return b"".join(blake3(data[at : at + each]).digest() for at in range(0, len(data), each))


def file_entry(path: str, data: bytes, *, executable: bool = False) -> Entry:
    return Entry(EntryKind.FILE, tuple(path.split("/")), len(data), executable, hashes_of(data))


def folder_entry(path: str) -> Entry:
    return Entry(EntryKind.FOLDER, tuple(path.split("/")))


def oracle(top: Path) -> list[Entry]:
    """The entries of a folder without special files, found and hashed in the simplest way."""
    entries = []
    for path in top.rglob("*"):
        parts = path.relative_to(top).parts
        if path.is_file():
            entries.append(
                Entry(
                    EntryKind.FILE,
                    parts,
                    path.stat().st_size,
                    bool(path.stat().st_mode & 0o100),
                    hashes_of(path.read_bytes()),
                )
            )
        elif not list(path.iterdir()):
            entries.append(Entry(EntryKind.FOLDER, parts))
    return sorted(entries, key=lambda entry: entry.path)


def manifest_of(entries: Sequence[Entry], name: str = "share", *, single: bool = False) -> Manifest:
    """The manifest as another peer would send it: encoded, decoded and checked."""
    body, parts = manifests.encode(name, entries, single=single)
    share_id = manifests.share_id_of(body)
    root = manifests.decode_root(share_id, body, ShareLimits())
    return manifests.decode(share_id, root, parts)


def uncheck() -> None:
    """A check for interruption that never interrupts."""


@dataclass
class Share:
    """A share with its bytes. `files` has contents by path; None stands for an empty folder."""

    files: Mapping[str, bytes | None]
    executable: frozenset[str] = frozenset()
    name: str = "share"
    single: bool = False

    def __post_init__(self) -> None:
        self.manifest = manifest_of(
            [
                folder_entry(path) if data is None else file_entry(path, data, executable=path in self.executable)
                for path, data in self.files.items()
            ],
            self.name,
            single=self.single,
        )
        self.layout = Layout(self.manifest)

    @property
    def encoded(self) -> tuple[bytes, list[bytes]]:
        """The manifest's root and parts, as they are sent."""
        return manifests.encode(self.name, self.manifest.entries, single=self.single)

    def path_of(self, entry: int) -> str:
        return "/".join(self.manifest.entries[entry].path)

    def entry_of(self, path: str) -> int:
        return next(index for index in range(len(self.manifest.entries)) if self.path_of(index) == path)

    def chunk(self, chunk: int) -> bytes:
        place = self.layout.place(chunk)
        data = self.files[self.path_of(place.entry)]
        assert data is not None
        return data[place.offset : place.offset + place.size]

    def record(self, records: Fetches, out: Path) -> FetchRecord:
        records.remember(self.manifest.share_id, out)
        return records.begin(self.manifest.share_id, out, self.layout.chunks)

    def open(
        self,
        records: Fetches,
        out: Path,
        *,
        overwrite: bool = False,
        only: Iterable[str] | None = None,
        survey: bool = True,
    ) -> Target:
        """Opens a target as a fetch does."""
        selected = (
            list(range(len(self.manifest.entries))) if only is None else sorted(self.entry_of(path) for path in only)
        )
        told = Told(self.path_of(0) if self.single else self.name, trusted=True, into_existing=True)
        target = Target(self.layout, out, selected, self.record(records, out), overwrite=overwrite, told=told)
        if survey:
            try:
                target.survey(uncheck)
                target.check_space()
                target.make_empty()
            except BaseException:
                target.close()
                raise
        return target

    def write(self, target: Target, chunk: int) -> None:
        target.write(chunk, self.layout.place(chunk), memoryview(self.chunk(chunk)))

    def finish(self, target: Target, *, seed: int = 0) -> list[int]:
        """Writes what is missing, in some order, and puts everything into place; returns the chunks written."""
        missing = [chunk for chunk in range(self.layout.chunks) if (target.wanted & ~target.record.have) >> chunk & 1]
        random.Random(seed).shuffle(missing)
        for chunk in missing:
            self.write(target, chunk)
        settle(target)
        return missing

    def fetch(self, records: Fetches, out: Path, *, overwrite: bool = False, only: Iterable[str] | None = None) -> None:
        """Does a whole fetch."""
        target = self.open(records, out, overwrite=overwrite, only=only)
        try:
            self.finish(target)
            target.record.forget()
        finally:
            target.close()

    def in_place(self, out: Path) -> bool:
        """Whether the output folder holds exactly this share, byte for byte."""
        top = out if self.single else out / self.name
        return contents(top) == dict(self.files)


def settle(target: Target) -> None:
    """Gives every complete file its final name."""
    files = [entry for entry in target.selected if target.layout.manifest.entries[entry].chunks]
    whole = target.whole(files)
    target.settle(files, whole)
    target.fill_copies(target.uncopied())


def build(top: Path, files: Mapping[str, bytes | None]) -> Path:
    """Writes files with these contents beneath `top`, and an empty folder for each None."""
    for name, data in files.items():
        path = top / name
        if data is None:
            path.mkdir(parents=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    return top


def contents(top: Path) -> dict[str, bytes | None]:
    """The contents of the files beneath a folder, by path; None for each empty folder."""
    found: dict[str, bytes | None] = {}
    for path in top.rglob("*"):
        name = path.relative_to(top).as_posix()
        if path.is_symlink() or path.is_file():
            found[name] = path.read_bytes()
        elif not list(path.iterdir()):
            found[name] = None
    return found


def path_of(text: str) -> names.Path:
    return tuple(text.split("/"))
