"""How much `transfer` moves, and how often."""

from dataclasses import dataclass

GB = 1e9
SMALL_FILE_BYTES = 4 << 10
# What a small file takes of a file system with its folder entry, and the copies that exist at once.
SMALL_FILE_ROOM = 8 << 10


@dataclass(frozen=True)
class Settings:
    """The amounts of data and of rounds; sizes are in bytes."""

    rounds: int
    size: int
    small_files: int
    reshare_files: int
    disk_size: int
