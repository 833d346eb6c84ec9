"""The files that go along with a job, served from memory: its data files, and the contents of its packages' wheels.

A job reads them with `open`, `importlib.resources` or `pkgutil.get_data`, by paths relative to its own folder, or made
from `__file__`. No file of the machine is opened for them: a guest has none, and `--local` shows the same view.
"""

import builtins
import errno
import io
import os
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from p2p.jobs.faults import JobFault, shown

if TYPE_CHECKING:
    from importlib.metadata import Distribution
    from zipfile import ZipFile

API = "p2p/"
WHEELS = "p2p/wheels/"
"""Where wheels are in a bundle, as they were downloaded."""


class Files(Mapping[str, bytes]):
    """The contents of all files by their paths: those of the bundle, and those in its wheels, which are decompressed
    when they are read.
    """

    def __init__(self, bundle: Mapping[str, bytes]) -> None:
        """Raises JobFault for a wheel that cannot be read."""
        self._bundle = bundle
        self._wheels: dict[str, tuple[ZipFile, str]] = {}
        self._metadata: list[str] = []
        for path in sorted(bundle):
            if path.startswith(WHEELS):
                self._add(path, bundle[path])

    def _add(self, path: str, wheel: bytes) -> None:
        from zipfile import BadZipFile, ZipFile  # only here: loading it takes a guest longer than most units

        try:
            opened = ZipFile(io.BytesIO(wheel))
        except (BadZipFile, OSError, ValueError, NotImplementedError) as error:
            raise JobFault(f"the package {shown(path.removeprefix(WHEELS))} cannot be read: {error}") from None
        for name in opened.namelist():
            at = installed_at(name)
            if at and at not in self._bundle:
                self._wheels.setdefault(at, (opened, name))
            if name.endswith(".dist-info/METADATA") and name.count("/") == 1:
                self._metadata.append(name)

    def __getitem__(self, path: str) -> bytes:
        if path in self._bundle:
            return self._bundle[path]
        from zipfile import BadZipFile

        opened, name = self._wheels[path]
        try:
            return opened.read(name)
        except (BadZipFile, OSError, ValueError, NotImplementedError, RuntimeError, EOFError, zlib.error) as error:
            raise ImportError(f"the package's file {path} cannot be read: {error}") from None

    def __contains__(self, path: object) -> bool:
        return path in self._bundle or path in self._wheels

    def __iter__(self) -> Iterator[str]:
        yield from self._bundle
        yield from self._wheels

    def __len__(self) -> int:
        return len(self._bundle) + len(self._wheels)

    @property
    def own(self) -> Mapping[str, bytes]:
        """The files of the bundle."""
        return self._bundle

    def shown(self) -> "Files":
        """The files that a job sees: all but the job API, and the wheels themselves."""
        shown = Files({path: data for path, data in self._bundle.items() if not path.startswith(API)})
        shown._wheels, shown._metadata = self._wheels, self._metadata
        return shown

    def distributions(self) -> "list[Distribution]":
        """What `importlib.metadata` is told of the wheels."""
        from importlib.metadata import Distribution

        class Package(Distribution):
            def __init__(self, files: Files, folder: str) -> None:
                self._files = files
                self._folder = folder

            def read_text(self, filename: str) -> str | None:
                path = self._folder + filename
                return self._files[path].decode("utf-8", "replace") if path in self._files else None

            def locate_file(self, path: Any) -> Any:
                return Folder(self._files, str(path))

        return [Package(self, name.removesuffix("METADATA")) for name in self._metadata]


def sources(files: Mapping[str, bytes], entry: str) -> dict[str, bytes]:
    """The job's own files of Python, among those of its bundle."""
    return {path: files[path] for path in files if path == entry or (path.endswith(".py") and not path.startswith(API))}


def installed_at(name: str) -> str:
    """Returns where a wheel's member is installed, relative to the folder of packages; "" if it is no file of one."""
    top, _, rest = name.partition("/")
    if top.endswith(".data"):
        kind, _, rest = rest.partition("/")
        return rest if kind in ("purelib", "platlib") and not rest.endswith("/") else ""
    return "" if name.endswith("/") else name


class Folder:
    """A folder or file among the files, with the methods of `importlib.resources.abc.Traversable`."""

    def __init__(self, files: Mapping[str, bytes], path: str) -> None:
        self._files = files
        self._path = path

    @property
    def name(self) -> str:
        return self._path.rpartition("/")[2]

    def iterdir(self) -> "Iterator[Folder]":
        above = f"{self._path}/" if self._path else ""
        parts = {path[len(above) :].partition("/")[0] for path in self._files if path.startswith(above)}
        return (Folder(self._files, above + part) for part in sorted(parts))

    def is_file(self) -> bool:
        return self._path in self._files

    def is_dir(self) -> bool:
        return not self.is_file() and any(path.startswith(f"{self._path}/" * bool(self._path)) for path in self._files)

    def joinpath(self, *parts: Any) -> "Folder":
        path = os.path.normpath("/".join([self._path, *map(str, parts)]).lstrip("/"))
        return Folder(self._files, "" if path == "." else path)

    def __truediv__(self, part: Any) -> "Folder":
        return self.joinpath(part)

    def open(self, mode: str = "r", *_: Any, encoding: str | None = None, errors: str | None = None) -> Any:
        return opened(self._files, self._path, mode, encoding=encoding, errors=errors)

    def read_bytes(self) -> bytes:
        with self.open("rb") as file:
            return bytes(file.read())

    def read_text(self, encoding: str | None = None, errors: str | None = None) -> str:
        with self.open(encoding=encoding, errors=errors) as file:
            return str(file.read())

    def __str__(self) -> str:
        return self._path


class Resources:
    """The resource reader of a module: the folder in which the module is."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder

    def files(self) -> Folder:
        return self._folder


class _Bytes(io.BytesIO):
    """A file open for reading."""

    def __init__(self, data: bytes, name: Any) -> None:
        super().__init__(data)
        self.name = name

    def writable(self) -> bool:
        return False

    def write(self, _: Any) -> int:
        raise io.UnsupportedOperation("not writable")

    def writelines(self, _: Any) -> None:
        raise io.UnsupportedOperation("not writable")

    def truncate(self, size: int | None = None) -> int:
        raise io.UnsupportedOperation("not writable")


def opened(
    files: Mapping[str, bytes],
    path: str,
    mode: str = "r",
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    name: Any = None,
) -> Any:
    """Opens a file for reading, as `open` does; text is UTF-8 if no encoding is given. Raises OSError."""
    if not set(mode) <= set("rtb") or "r" not in mode:
        raise OSError(errno.EROFS, _READ_ONLY, path)
    if path not in files:
        raise FileNotFoundError(errno.ENOENT, _NOT_THERE, path)
    raw = _Bytes(files[path], path if name is None else name)
    if "b" in mode:
        return raw
    return io.TextIOWrapper(raw, "utf-8" if encoding in (None, "locale") else encoding, errors, newline)


_NOT_THERE = "No such file among those that go along with the job (see --with)"
_READ_ONLY = "A job writes no files (save() does, at its end)"


@contextmanager
def served(files: Files) -> Iterator[None]:
    """Does what `serve` does, while the body runs."""
    usual = [(module, name, getattr(module, name)) for module, name in _REPLACED]
    serve(files)
    try:
        yield
    finally:
        for module, name, function in usual:
            setattr(module, name, function)


def serve(files: Files) -> None:
    """Has `open`, and the functions of `os` that look at files, see these files at relative paths, and at paths in the
    current folder.

    Other relative paths name nothing, since they would name something else on every machine. All other paths mean what
    they always do.
    """
    view = _View(files.shown())
    for module, name in _REPLACED:
        setattr(module, name, getattr(view, name))


_REPLACED = ((builtins, "open"), (io, "open"), (os, "stat"), (os, "lstat"), (os, "listdir"), (os, "scandir"))


class _View:
    """Functions like those of Python, for which the job's files are in the current folder, and nothing else is."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._open: Callable[..., Any] = io.open
        self._stat, self._lstat = os.stat, os.lstat
        self._listdir: Callable[..., list[Any]] = os.listdir
        self._scandir: Callable[..., Any] = os.scandir

    def open(
        self,
        file: Any,
        mode: str = "r",
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
        closefd: bool = True,
        opener: Any = None,
    ) -> Any:
        path = None if opener is not None else self._own(file)
        if path is None:
            return self._open(file, mode, buffering, encoding, errors, newline, closefd, opener)
        return opened(self._files, path, mode, encoding, errors, newline, file)

    def stat(self, path: Any, *, dir_fd: int | None = None, follow_symlinks: bool = True) -> os.stat_result:
        here = None if dir_fd is not None else self._own(path)
        return self._stat(path, dir_fd=dir_fd, follow_symlinks=follow_symlinks) if here is None else self._told(here)

    def lstat(self, path: Any, *, dir_fd: int | None = None) -> os.stat_result:
        here = None if dir_fd is not None else self._own(path)
        return self._lstat(path, dir_fd=dir_fd) if here is None else self._told(here)

    def listdir(self, path: Any = ".") -> list[Any]:
        here = self._own(path)
        if here is None:
            return self._listdir(path)
        names = [one.name for one in self._in(here)]
        return [os.fsencode(name) for name in names] if isinstance(path, bytes) else names

    def scandir(self, path: Any = ".") -> Any:
        here = self._own(path)
        if here is None:
            return self._scandir(path)
        return _Entries(_Entry(self, os.fspath(path), one) for one in self._in(here))

    def _told(self, path: str) -> os.stat_result:
        if path in self._files:
            return os.stat_result((0o100444, 0, 0, 1, 0, 0, len(self._files[path]), 0, 0, 0))
        self._in(path)
        return os.stat_result((0o040555, 0, 0, 1, 0, 0, 0, 0, 0, 0))

    def _in(self, path: str) -> list[Folder]:
        """What is in a folder. Raises OSError."""
        # At the top, only the job's own: what its packages have is theirs, and found by whoever knows of it.
        found = list(Folder(self._files if path else self._files.own, path).iterdir())
        if path in self._files:
            raise NotADirectoryError(errno.ENOTDIR, "Not a folder", path)
        if path and not found:
            raise FileNotFoundError(errno.ENOENT, _NOT_THERE, path)
        return found

    def _own(self, path: Any) -> str | None:
        """Returns a path among the files, "" for their top; None for a path that means what it always does."""
        if isinstance(path, int):
            return None
        text = os.fsdecode(path)
        if not text or "\0" in text:
            return None
        here = os.path.relpath(text)
        here = "" if here == os.curdir else here
        if not here or here in self._files or not os.path.isabs(text):
            return here
        return here if Folder(self._files, here).is_dir() else None


class _Entry:
    """What `os.scandir` gives for a file or folder."""

    def __init__(self, view: _View, above: Any, entry: Folder) -> None:
        self._view = view
        self._entry = entry
        self.name = os.fsencode(entry.name) if isinstance(above, bytes) else entry.name
        self.path = os.path.join(above, self.name)

    def is_file(self, *, follow_symlinks: bool = True) -> bool:
        return self._entry.is_file()

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        return self._entry.is_dir()

    def is_symlink(self) -> bool:
        return False

    def is_junction(self) -> bool:
        return False

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        return self._view.stat(self.path)

    def __fspath__(self) -> Any:
        return self.path


class _Entries:
    """The iterator that `os.scandir` returns."""

    def __init__(self, entries: Iterator[_Entry]) -> None:
        self._entries = entries

    def __iter__(self) -> Iterator[_Entry]:
        return self._entries

    def __next__(self) -> _Entry:
        return next(self._entries)

    def __enter__(self) -> "_Entries":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Does nothing: there is nothing to close."""
