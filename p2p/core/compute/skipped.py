"""The records that the units of a job have left out because of errors (`on_error="skip"`): how many in all, and what
went wrong with the first of them.

A unit's count comes with its result. If the unit runs again, its new count takes the place of the one before, so the
sum is exact. This module also decides when there are more than the job's user allows.
"""

from collections.abc import Sequence
from itertools import islice
from typing import NamedTuple

import msgspec

from p2p.core.compute.report import Report

MAX_LISTED = 20
DEFAULT_MOST = 1_000
_MAX_TOLD = 3


class UnitPlace(NamedTuple):
    """Which unit of a job: the numbers of its action, stage and partition."""

    action: int
    stage: int
    partition: int

    def __str__(self) -> str:
        return f"{self.action}.{self.stage}.{self.partition}"


class Skips(NamedTuple):
    """How many records a unit has skipped, and reports of the first of them."""

    amount: int
    reports: Sequence[Report] = ()


NO_SKIPS = Skips(0)
read_reports = msgspec.json.Decoder(tuple[Report, ...]).decode
"""Reads the reports of a unit from JSON. Raises msgspec.DecodeError, RecursionError."""


class SkippedRecord(msgspec.Struct, frozen=True):
    """A record that a unit (ACTION.STAGE.PARTITION) left out, described in a few words, and why.

    `line` is where in the job's `file` the exception was raised, or else where the operation begins.
    """

    unit: str
    operation: str
    line: int | None
    file: str | None
    error: str
    record: str

    def told(self) -> str:
        """What happened, where, and to which record, as one line."""
        where = f"{self.operation}, line {self.line}" if self.line is not None else self.operation
        record = f"; record: {self.record}" if self.record else ""
        return f"unit {self.unit}, {where}: {self.error}{record}"


class SkippedRecords:
    """The skipped records of one job, of which there may be `most`."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.total = 0
        self._counts: dict[UnitPlace, int] = {}
        self._reports: dict[UnitPlace, Sequence[Report]] = {}
        """The reports of the first units with skipped records."""

    @property
    def is_exceeded(self) -> bool:
        """Whether more were skipped than the user allows."""
        return self.total > self.most

    def would_exceed(self, unit: UnitPlace, skips: Skips, others: int = 0) -> bool:
        """Whether there would be too many if this unit had skipped that many, and other units `others` more."""
        added = skips.amount - self._counts.get(unit, 0)
        return bool(skips.amount) and self.total + added + others > self.most

    def set(self, unit: UnitPlace, skips: Skips) -> Skips | None:
        """Records what a unit has skipped, in place of what was known of it before.

        Returns what is worth keeping of it: reports only for one of the first units; None if nothing is new.
        """
        known = self._counts.get(unit, 0)
        if skips.amount == known:
            return None
        self.total += skips.amount - known
        self._counts[unit] = skips.amount
        self._reports[unit] = skips.reports
        if len(self._reports) > MAX_LISTED:
            del self._reports[max(self._reports)]
        return Skips(skips.amount, self._reports.get(unit, ()))

    def first(self) -> list[SkippedRecord]:
        """The first skipped records, by unit."""
        found = ((unit, report) for unit in sorted(self._reports) for report in self._reports[unit])
        return [
            SkippedRecord(str(unit), one.operation, one.line, one.file, f"{one.kind}: {one.text}", one.record)
            for unit, one in islice(found, MAX_LISTED)
        ]

    def excess(self) -> str:
        """Says that there are too many, and which are the first."""
        first = "".join(f"\n  {one.told()}" for one in self.first()[:_MAX_TOLD])
        one = "1 record was skipped because of an error"
        skipped = one if self.total == 1 else f"{self.total:,} records were skipped because of errors"
        return (
            f"{skipped}, and --max-skipped allows {self.most:,}. Mend what is wrong, or run the job again with a "
            f"higher --max-skipped. The first:{first}"
        )
