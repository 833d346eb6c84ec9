"""Bundles: shared folders, each of which contains a job's file or folder, the owner's version of the job API, and the
arguments.

Volunteers run the API that is in the bundle, never their own: an old job runs as it always did, and a new API does not
require volunteers to update. The contents of a bundle are untrusted, and are only ever handed to a guest. The bundle of
a WASI command contains its module and the arguments.
"""

import ast
import functools
import importlib.resources
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec

from p2p.core.shares import names
from p2p.core.shares.manifest import ShareLimits
from p2p.errors import ConfigError, MalformedMessage, StorageError
from p2p.wire import guest

DESCRIPTION_FILE = "bundle.json"
ENTRY = "job.py"
MODULE = "module.wasm"
MAX_FILES = 1000
MAX_BYTES = 16 * 1024 * 1024
MAX_MODULE_BYTES = 64 * 1024 * 1024
ADDED_FILES, ADDED_BYTES = 100, 2 * 1024 * 1024
"""The most files and bytes that a bundle has besides the job's own files: the job API and the description."""
LIMITS = ShareLimits(entries=4 * (MAX_FILES + ADDED_FILES), length=8 * 1024 * 1024, size=MAX_MODULE_BYTES + ADDED_BYTES)
"""The largest share that is accepted as a bundle."""

_TAKEN = {*sys.stdlib_module_names, "p2p"}
"""Names that a job's own modules may not have: some processes have imported other modules by these names before the job
is loaded.
"""
_Count = Annotated[int, msgspec.Meta(ge=1, le=100_000)]


class InputDescription(msgspec.Struct, frozen=True):
    """An input as the job sees it: its name, the number of its files, and their total size in bytes."""

    name: Annotated[str, msgspec.Meta(max_length=255)]
    size: Annotated[int, msgspec.Meta(ge=0, lt=2**53)]
    files: Annotated[int, msgspec.Meta(ge=0, lt=2**53)]


class Description(msgspec.Struct, frozen=True):
    """The description of a job in its bundle, beside the job's files: arguments, numbers of partitions, inputs."""

    args: dict[str, Any]
    partitions: _Count
    reduce_partitions: _Count
    inputs: Annotated[tuple[InputDescription, ...], msgspec.Meta(max_length=64)] = ()
    title: Annotated[str, msgspec.Meta(max_length=names.MAX_PART_BYTES)] = ENTRY
    """The user's name for the file that is `job.py` in the bundle; tracebacks show it."""
    version: Annotated[int, msgspec.Meta(ge=1, le=1)] = 1


def collect(path: Path) -> dict[str, bytes]:
    """Collects a job's own files by name: one Python file, a folder with a job.py, or one module.

    Raises ConfigError.
    """
    if not path.exists():
        raise ConfigError(f"{path} does not exist.")
    if path.is_file():
        files = {MODULE if path.suffix == ".wasm" else ENTRY: _read(path)}
        _check_size(files)
        return files
    if not (path / ENTRY).is_file():
        raise ConfigError(f"{path} has no {ENTRY}: a job is one Python file, or a folder with a {ENTRY}.")
    found: dict[str, bytes] = {}
    for file in sorted(path.rglob("*.py")):
        parts = file.relative_to(path).parts
        if file.is_file() and not any(part.startswith(".") for part in parts):
            if parts[0].removesuffix(".py") in _TAKEN:
                raise ConfigError(
                    f"{path / parts[0]} has the name of a module that comes with Python or Shoal, and `import` may "
                    "find either. Rename it, also where it is imported."
                )
            found[file.relative_to(path).as_posix()] = _read(file)
            _check_size(found)
    return found


def title_of(path: Path) -> str:
    """Returns the name that tracebacks show for the entry of the job at `path`: its file's name, if that can be
    displayed.
    """
    return path.name if path.is_file() and _refusal(path.name) is None else ENTRY


def titled(files: Mapping[str, bytes], title: str) -> dict[str, bytes]:
    """Returns a job's files with the entry under this name."""
    return {title if name == ENTRY else name: content for name, content in files.items()}


def runtime_asked_for(files: Mapping[str, bytes]) -> str | None:
    """Reads the runtime from the line `RUNTIME = "..."` of a job file without running it.

    None if there is no such line. Raises ConfigError.
    """
    try:
        module = ast.parse(files.get(ENTRY, b""))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None  # the guest gives a better error message
    for statement in module.body:
        targets = statement.targets if isinstance(statement, ast.Assign) else []
        if any(isinstance(target, ast.Name) and target.id == "RUNTIME" for target in targets):
            value = statement.value  # type: ignore[attr-defined]
            if not isinstance(value, ast.Constant) or not isinstance(value.value, str):
                raise ConfigError(f"line {statement.lineno}: RUNTIME is a runtime's name between quotes, nothing else.")
            return value.value
    return None


def whole(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Adds what guests need besides the job's own files: the job API, unless the job is a module."""
    return dict(files) if MODULE in files else {**files, **_api()}


@functools.cache
def _api() -> dict[str, bytes]:
    """The files of `p2p.jobs`, by the names under which guests import them."""
    folder = importlib.resources.files("p2p.jobs")
    return {f"p2p/jobs/{file.name}": file.read_bytes() for file in folder.iterdir() if file.name.endswith(".py")}


def unpacks(files: Mapping[str, bytes]) -> bool:
    """Whether the job API of a bundle reads compressed files. That of the first jobs does not."""
    return MODULE in files or "p2p/jobs/unpacking.py" in files


def write(folder: Path, files: Mapping[str, bytes], description: Description) -> None:
    """Writes a bundle with these files (from `whole`). Blocks. Raises StorageError."""
    try:
        for name, content in {**files, DESCRIPTION_FILE: msgspec.json.encode(description)}.items():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
    except OSError as error:
        raise StorageError(f"Cannot write the job to {folder}: {error.strerror}.") from error


def read(folder: Path) -> tuple[Description, dict[str, bytes]]:
    """Reads a fetched bundle. Blocks. Raises MalformedMessage if it is not a bundle; StorageError."""
    files: dict[str, bytes] = {}
    try:
        for file in sorted(folder.rglob("*")):
            if file.is_file() and not file.is_symlink():
                files[file.relative_to(folder).as_posix()] = file.read_bytes()
                _check_size(files, ADDED_FILES, ADDED_BYTES)
    except OSError as error:
        raise StorageError(f"Cannot read the bundle in {folder}: {error.strerror}.") from error
    except ConfigError as error:
        raise MalformedMessage(f"a bundle out of bounds: {error}") from None
    try:
        description = msgspec.json.decode(files.pop(DESCRIPTION_FILE, b""), type=Description)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedMessage(f"not a bundle: {error}") from None
    if description.title != ENTRY and (_refusal(description.title) or description.title in files):
        raise MalformedMessage("a bundle whose file has a name that it cannot have")
    return description, files


def load_frame(job: str, files: Mapping[str, bytes], description: Description) -> bytes:
    """Makes the first frame for a guest of this job. Raises ConfigError if it would be too large."""
    # The file with the guest's main loop comes first: the bootstrap on its command line relies on that.
    files = titled(files, description.title)
    paths = sorted(files, key=lambda path: (path != "p2p/jobs/guest.py", path))
    header = {
        "do": "load",
        "files": paths,
        "entry": description.title,
        "args": description.args,
        "settings": {"partitions": description.partitions, "reduce_partitions": description.reduce_partitions},
        "inputs": [msgspec.to_builtins(one) for one in description.inputs],
        "job": job,
    }
    try:
        return guest.encode(header, [files[path] for path in paths])
    except ValueError:
        raise ConfigError("The names of the job's files and its arguments are too long together.") from None


def _refusal(title: str) -> str | None:
    """Why an entry cannot have this name, or None if it can: as a path, it must mean no other file, and none of a
    guest's.
    """
    return names.refusal(title) or names.doubt(title)


def _check_size(files: Mapping[str, bytes], more_files: int = 0, more_bytes: int = 0) -> None:
    size = sum(map(len, files.values()))
    if MODULE in files:
        if size > MAX_MODULE_BYTES + more_bytes:
            raise ConfigError(f"a module has at most {MAX_MODULE_BYTES >> 20} MiB. Data belongs in --input.")
    elif len(files) > MAX_FILES + more_files or size > MAX_BYTES + more_bytes:
        raise ConfigError(f"a job has at most {MAX_FILES} files and {MAX_BYTES >> 20} MiB. Data belongs in --input.")


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_MODULE_BYTES:
            raise ConfigError(f"{path} is too large to be a job. Data belongs in --input.")
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"Cannot read {path}: {error.strerror}.") from error
