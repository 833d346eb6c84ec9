"""What of a fetched environment is seen where, inside a member's sandbox. All of it is the word of another peer."""

import itertools
import os
import posixpath
import re
from pathlib import Path
from typing import NamedTuple

import msgspec

from p2p import causes
from p2p.environments import description, machine
from p2p.environments.description import Description
from p2p.environments.trees import HOME, OWN, is_in
from p2p.errors import ConfigError, StorageError
from p2p.store import posix

SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", HOME)
"""What a sandbox makes itself, besides `OWN`: nothing is bound at, below or around it."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_CONTROL = re.compile("[\x00-\x1f\x7f]")


class BoundTree(NamedTuple):
    """A folder on this machine, and where it is seen inside."""

    source: Path
    target: str


class Bound(msgspec.Struct, frozen=True):
    """A checked environment."""

    binds: tuple[BoundTree, ...]
    root: Path
    """The folder whose `usr` is /usr inside."""
    python: str
    variables: dict[str, str]
    description: Description


def bound(folder: Path) -> Bound:
    """Checks an environment in `folder`, and that it runs on this machine. Blocks.

    Raises ConfigError for one that is broken or for another machine, or whose targets are not acceptable; StorageError.
    """
    told = description.read(folder)
    if why := machine.lacking(told.arch, told.cpu, machine.flags(), machine.arch()):
        raise ConfigError(why)
    check_targets([one.target for one in told.binds])
    if not _is_normal(told.python) or not any(is_in(told.python, one) for one in _seen(told)):
        raise ConfigError(f"The environment's interpreter is not a part of it: {told.python!r:.200}.")
    for name, value in told.variables.items():
        if not _NAME.fullmatch(name) or _CONTROL.search(value):
            raise ConfigError(f"The environment has a variable that cannot be set: {name!r:.200}.")
    top = posix.open_folder(folder)
    try:
        binds = tuple(BoundTree(_existing(top, folder, one.path), one.target) for one in told.binds)
        root = _existing(top, folder, told.root)
        _existing(top, folder, f"{told.root}/usr")
    finally:
        os.close(top)
    return Bound(binds, root, told.python, told.variables, told)


def check_targets(targets: list[str]) -> None:
    """Raises ConfigError unless all are absolute and normal, none is in another, and none hides a sandbox's own."""
    for target in targets:
        if not _is_normal(target):
            raise ConfigError(f"The environment has a target that is not an absolute, normal path: {target!r:.200}.")
        for one in (*OWN, *SYSTEM):
            if is_in(target, one) or is_in(one, target):
                raise ConfigError(f"The environment has a target that would hide a sandbox's own {one}: {target}.")
    ordered = sorted(targets, key=lambda target: target.split("/"))
    for above, below in itertools.pairwise(ordered):
        if is_in(below, above):
            raise ConfigError(f"The environment has a target that lies in another: {below}.")


def _is_normal(path: str) -> bool:
    return (
        path.startswith("/")
        and not path.startswith("//")
        and posixpath.normpath(path) == path
        and not _CONTROL.search(path)
    )


def _seen(told: Description) -> list[str]:
    return [*(one.target for one in told.binds), "/usr"]


def _existing(top: int, folder: Path, path: str) -> Path:
    """The folder at a relative path, to which no link leads."""
    parts = tuple(path.split("/"))
    if not all(parts) or {".", ".."} & set(parts) or _CONTROL.search(path):
        raise ConfigError(f"The environment names a folder that is not in it: {path!r:.200}.")
    try:
        with posix.existing(top, parts):
            return folder.joinpath(*parts)
    except FileNotFoundError:
        raise ConfigError(f"The environment lacks a folder that it names: {path!r:.200}.") from None
    except NotADirectoryError:
        raise ConfigError(f"The environment names a folder that is none: {path!r:.200}.") from None
    except OSError as error:
        raise StorageError(f"Cannot open the environment: {causes.explained(error)}") from error
