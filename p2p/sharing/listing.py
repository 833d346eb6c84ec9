"""What a folder of a share has, as programs and people are told. It says nothing of where that comes from."""

from typing import Literal

import msgspec


class Row(msgspec.Struct, frozen=True):
    """What is directly in a folder. `size` is in bytes, `modified` in seconds since 1970; a folder has neither."""

    name: str
    kind: Literal["file", "folder"]
    size: int | None = None
    modified: float | None = None
    id: str | None = None
    """The file's id, which equal files have in common."""


class Listing(msgspec.Struct, frozen=True):
    """A folder of a share. If it has more than the rows, they go on `after` the last name: ask for that."""

    share: str
    name: str
    """The name of the share."""
    path: str
    rows: tuple[Row, ...]
    after: str | None = None
