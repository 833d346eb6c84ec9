"""The settings that the parts of the benchmark get."""

from dataclasses import dataclass

from scripts.bench.rivals.jobs import Rival


@dataclass(frozen=True)
class Settings:
    """`units` no-op units, `megabytes` MiB of text; a rival that takes longer than `patience_s` a turn runs once."""

    rounds: int
    units: int
    megabytes: int
    runtimes: tuple[str, ...]
    rivals: tuple[Rival, ...]
    patience_s: float
