"""What the cases of `data` are told."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """How much is measured: rows of the two tables, files that are made one, items of a map."""

    rounds: int
    rows: int
    large_rows: int
    files: int
    items: int
    spark: str | None
    """The Python that has pyspark, if any."""
