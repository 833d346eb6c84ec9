"""What a packed environment says of itself: `environment.json`, at the top of its folder."""

import os
import stat
from pathlib import Path
from typing import Annotated

import msgspec

from p2p import causes
from p2p.errors import ConfigError, StorageError
from p2p.store import posix

FILE, VERSION = "environment.json", 1
MAX_BYTES = 4 * 1024 * 1024
"""The largest description that is read."""

Text = Annotated[str, msgspec.Meta(max_length=4096)]


class TreeBind(msgspec.Struct, frozen=True):
    """A folder of the share, and the absolute path at which its content is seen."""

    path: Text
    target: Text


class Package(msgspec.Struct, frozen=True):
    """An installed package, for people and engines to look at."""

    name: Text
    version: Text


class Description(msgspec.Struct, frozen=True):
    """An environment; paths in the share are relative, with slashes."""

    python: Text
    """The interpreter, as an absolute path inside."""
    binds: Annotated[tuple[TreeBind, ...], msgspec.Meta(max_length=64)]
    root: Text
    """The folder in the share whose `usr` is /usr inside."""
    variables: Annotated[dict[Text, Text], msgspec.Meta(max_length=64)]
    arch: Text
    """The architecture, as `uname -m` says it."""
    cpu: Text
    """The class of CPU that compiled code needs, as in `machine.CLASSES`; empty if none is known."""
    packages: Annotated[tuple[Package, ...], msgspec.Meta(max_length=20_000)]
    version: int = VERSION


def encode(description: Description) -> bytes:
    """The same bytes for the same description, in lines that people can read."""
    return msgspec.json.format(msgspec.json.encode(description), indent=1) + b"\n"


def read(folder: Path) -> Description:
    """Reads the description of a packed environment. Follows no link. Blocks. Raises ConfigError, StorageError."""
    try:
        with posix.opened(folder / FILE, os.O_RDONLY) as descriptor:
            regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
            content = os.read(descriptor, MAX_BYTES + 1) if regular else b""
    except FileNotFoundError:
        raise ConfigError(f"{folder} is no packed environment: it has no {FILE}.") from None
    except OSError as error:
        raise StorageError(f"Cannot read {folder / FILE}: {causes.explained(error)}") from error
    if not regular or len(content) > MAX_BYTES:
        raise ConfigError(f"{folder / FILE} is not the description of an environment.")
    try:
        version = msgspec.json.decode(content, type=_Version).version
        if version != VERSION:
            raise ConfigError(
                f"The environment has version {version}, this Shoal reads version {VERSION}: update Shoal."
            )
        return msgspec.json.decode(content, type=Description)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"The description of the environment is broken: {error}.") from None


class _Version(msgspec.Struct):
    version: int
