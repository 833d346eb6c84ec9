"""Bundles: shared folders, each of which contains a job's file or folder, the owner's version of the job API, and the
arguments.

Volunteers run the API that is in the bundle, never their own: an old job runs as it always did, and a new API does not
require volunteers to update. The contents of a bundle are untrusted, and are only ever handed to a guest. The bundle of
a WASI command contains its module and the arguments.
"""

import ast
import os
import stat
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, NoReturn

import msgspec
from msgspec import UNSET, UnsetType

from p2p import causes, homes, private
from p2p.compute import job_api, wheels
from p2p.core.shares import names
from p2p.core.shares.manifest import ShareLimits
from p2p.errors import ConfigError, MalformedMessage, StorageError
from p2p.formats import format_size
from p2p.ids import H
from p2p.ignore import IGNORE_FILE, Ignore, read_ignore_file
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
MAX_LINKS = 10
MAX_NAMES = 40
"""The most names that are told; of more files than this, only folders are."""
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
    seed: Annotated[int, msgspec.Meta(ge=0, lt=2**53)] | UnsetType = UNSET
    """The seed that the user gave."""

    def chance(self, job: bytes) -> bytes:
        """What the randomness of a guest's system follows from."""
        return job if self.seed is UNSET else H("seed of a job", self.seed.to_bytes(8, "big"))


def collect(
    path: Path, along: Sequence[Path] = (), tell: Callable[[str], None] = lambda text: None
) -> dict[str, bytes]:
    """Collects a job's own files by name: one Python file, a folder with a job.py, or one module; and the files that
    the user named (`along`), wheels among them. `tell` gets what the user should know. Blocks.

    Of a folder, all regular files go along, but nothing behind a symbolic link, nothing whose name begins with a dot,
    and nothing that its `.shoalignore` names. Raises ConfigError.
    """
    is_file = stat.S_ISREG(_mode(path))
    homes.refuse(path)
    if is_file:
        files = {MODULE if path.suffix == ".wasm" else ENTRY: _read(path)}
        if along and MODULE in files:
            raise ConfigError("--with: no files go along with a .wasm job. Give them with --input.")
    else:
        files = _of_folder(path, tell)
        if ENTRY not in files:
            raise ConfigError(f"{path} has no {ENTRY}: a job is one Python file, or a folder with a {ENTRY}.")
    for one in along:
        name = wheels.FOLDER + one.name if one.suffix == wheels.ENDING else one.name
        _check_name(one, PurePosixPath(one.name))
        if name in files or name == title_of(path):
            raise ConfigError(f"--with {one}: the job has a file of that name already.")
        files[name] = _read(one)
        homes.refuse(one)
    _check_size(files)
    check_wheels(files)
    return files


def with_wheels(files: Mapping[str, bytes], found: Sequence[Path]) -> dict[str, bytes]:
    """Adds wheels to a job's files; one that is there already stays. Raises ConfigError. Blocks."""
    added = {wheels.FOLDER + path.name: _read(path) for path in found}
    every = {**files, **{name: content for name, content in added.items() if name not in files}}
    _check_size(every)
    check_wheels(every)
    return every


def check_wheels(files: Mapping[str, bytes]) -> None:
    """Raises ConfigError for wheels, among a job's files, that cannot go along with it."""
    own = {name.partition("/")[0].removesuffix(".py") for name in files if name.endswith(".py")}
    projects: dict[str, str] = {}
    modules: dict[str, tuple[str, int]] = {}
    for name in files:
        if name.startswith(wheels.FOLDER):
            file = name.removeprefix(wheels.FOLDER)
            both = own & wheels.check(file, files[name])
            if other := projects.get(wheels.project_of(file)):
                raise ConfigError(f"{other} and {file} are the same package. Leave one out.")
            projects[wheels.project_of(file)] = file
            if both:
                raise ConfigError(f"{file} has a module {min(both)!r}, and so has the job.")
            for path, checksum in wheels.modules_in(files[name]).items():
                other, known = modules.setdefault(path, (file, checksum))
                if known != checksum:
                    raise ConfigError(f"{other} and {file} have different modules in {path}. Leave one out.")


def told(files: Mapping[str, bytes]) -> str | None:
    """Says which of a job's files, besides those of Python, every volunteer gets; None if there are none."""
    found = [name for name in files if name not in (ENTRY, MODULE) and not name.endswith(".py")]
    if not found:
        return None
    names = [name.removeprefix(wheels.FOLDER) for name in found]
    if len(names) > MAX_NAMES:
        counts = Counter(name.partition("/")[0] for name in names if "/" in name)
        names = [name for name in names if "/" not in name]
        names += [f"{folder}/ ({count} file{'s' * (count > 1)})" for folder, count in counts.items()]
    more = f", and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    size = format_size(sum(len(files[name]) for name in found))
    return f"every volunteer gets these files of the job too ({size}): {', '.join(names[:MAX_NAMES])}{more}"


def _of_folder(path: Path, tell: Callable[[str], None]) -> dict[str, bytes]:
    ignore = Ignore(read_ignore_file(path))
    found: dict[str, bytes] = {}
    links: list[str] = []
    for folder, folders, names_here in os.walk(path, onerror=_unreadable):
        homes.refuse_folder(Path(folder), names_here)
        above = Path(folder).relative_to(path).parts
        kept = []
        for name in sorted([*folders, *names_here]):
            parts = (*above, name)
            if name.startswith(".") or name == "__pycache__" or ignore.leaves_out(parts, folder=name in folders):
                continue
            file = path.joinpath(*parts)
            mode = _mode(file, follow=False)
            if stat.S_ISLNK(mode):
                links.append(PurePosixPath(*parts).as_posix())
            elif name in folders:
                kept.append(name)
            elif stat.S_ISREG(mode):
                _check_name(file, PurePosixPath(*parts))
                found[PurePosixPath(*parts).as_posix()] = _read(file, follow=False)
                _check_size(found)
        folders[:] = kept
    if links:
        more = f", and {len(links) - MAX_LINKS} more" if len(links) > MAX_LINKS else ""
        tell(f"symbolic links do not go along with the job: {', '.join(links[:MAX_LINKS])}{more}")
    return found


def _mode(path: Path, *, follow: bool = True) -> int:
    """What kind of file it is, as in `stat`. Raises ConfigError."""
    try:
        return os.stat(path, follow_symlinks=follow).st_mode
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist.") from None
    except OSError as error:
        raise ConfigError(f"Cannot read {path}: {causes.explained(error, forbidden=causes.MAY_READ)}") from error
    except ValueError as error:
        raise ConfigError(f"Cannot read {path}: {error}.") from error


def _unreadable(error: OSError) -> NoReturn:
    raise ConfigError(f"Cannot read {error.filename}: {causes.explained(error, forbidden=causes.MAY_READ)}") from error


def _check_name(file: Path, path: PurePosixPath) -> None:
    """Raises ConfigError if a job's file cannot have this path in its bundle."""
    top = path.parts[0]
    if top in (DESCRIPTION_FILE, MODULE):
        raise ConfigError(f"{file} has the name of a file of Shoal's own. Rename it, or name it in {IGNORE_FILE}.")
    if top == "p2p" or (path.suffix == ".py" and top.removesuffix(".py") in _TAKEN):
        raise ConfigError(
            f"{[file, *file.parents][len(path.parts) - 1]} has the name of a module that comes with Python or Shoal, "
            "and `import` may find either. Rename it, also where it is imported."
        )
    for part in path.parts:
        if part.startswith("."):
            raise ConfigError(f"{file} has a name that begins with a dot: such files do not go along with a job.")
        if why := names.refusal(part):
            raise ConfigError(f"{file} cannot go along with the job: {why}. Rename it, or name it in {IGNORE_FILE}.")


def title_of(path: Path) -> str:
    """Returns the name that tracebacks show for the entry of the job at `path`: its file's name, if that can be
    displayed.
    """
    return path.name if stat.S_ISREG(_mode(path)) and _refusal(path.name) is None else ENTRY


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
    return dict(files) if MODULE in files else {**files, **job_api.files()}


def unpacks(files: Mapping[str, bytes]) -> bool:
    """Whether the job API of a bundle reads compressed files. That of the first jobs does not."""
    return MODULE in files or "p2p/jobs/unpacking.py" in files


def write(folder: Path, files: Mapping[str, bytes], description: Description) -> None:
    """Writes a bundle with these files (from `whole`). Blocks. Raises StorageError."""
    try:
        for name, content in {**files, DESCRIPTION_FILE: msgspec.json.encode(description)}.items():
            target = folder / name
            private.make_folder(target.parent)
            private.write(target, content)
    except OSError as error:
        raise StorageError(f"Cannot write the job to {folder}: {causes.explained(error)}") from error


def read(folder: Path) -> tuple[Description, dict[str, bytes]]:
    """Reads a fetched bundle. Blocks. Raises MalformedMessage if it is not a bundle; StorageError."""
    files: dict[str, bytes] = {}
    try:
        for file in sorted(folder.rglob("*")):
            if file.is_file() and not file.is_symlink():
                files[file.relative_to(folder).as_posix()] = file.read_bytes()
                _check_size(files, ADDED_FILES, ADDED_BYTES)
    except OSError as error:
        raise StorageError(f"Cannot read the bundle in {folder}: {causes.explained(error)}") from error
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
    header: dict[str, Any] = {
        "do": "load",
        "files": paths,
        "entry": description.title,
        "args": description.args,
        "settings": {"partitions": description.partitions, "reduce_partitions": description.reduce_partitions},
        "inputs": [msgspec.to_builtins(one) for one in description.inputs],
        "job": job,
    }
    if description.seed is not UNSET:
        header["seed"] = description.seed
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
        largest = max(files, key=lambda name: len(files[name]))
        raise ConfigError(
            f"a job has at most {MAX_FILES} files and {MAX_BYTES >> 20} MiB, and this one has more (its largest file "
            f"is {largest}). Data belongs in --input; what the job does not need, in {IGNORE_FILE} in its folder."
        )


def _read(path: Path, *, follow: bool = True) -> bytes:
    """Reads a regular file of a job. Raises ConfigError."""
    most = MAX_MODULE_BYTES if path.suffix == ".wasm" else MAX_BYTES
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW))
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise ConfigError(f"{path} is not a file. To send a folder, make it the job, with a {ENTRY} in it.")
            with open(descriptor, "rb", closefd=False) as file:
                content = file.read(most + 1)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise ConfigError(f"Cannot read {path}: {causes.explained(error, forbidden=causes.MAY_READ)}") from error
    if len(content) > most:
        raise ConfigError(
            f"{path} has more than {most >> 20} MiB, too much to go along with a job. Data belongs in --input; what "
            f"the job does not need, in {IGNORE_FILE} in its folder."
        )
    return content
