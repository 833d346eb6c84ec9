"""The records that a unit leaves out, where the job says `on_error="skip"`.

How many there are comes back with the unit's result, with a report of each of the first. So the count stays exact
however often a unit is tried: it is part of the one result that counts.
"""

from collections.abc import Collection, Sequence
from typing import Any

from p2p.jobs.faults import NOT_THE_JOBS, bounded, raised, shown
from p2p.jobs.operations import Operation

MAX_LISTED = 10
"""How many skipped records of one unit are reported; the others are only counted."""
MAX_TEXT = 300


class Skipped:
    """The records that one unit has skipped."""

    def __init__(self, operations: Sequence[Operation], files: Collection[str]) -> None:
        """`operations` are those of the unit's stage; `files` are the paths of the job's own files."""
        self._operations, self._files = operations, files
        self.count = 0
        self.reports: list[dict[str, Any]] = []
        """Faults, as the header of a reply, without tracebacks."""

    def skip(self, error: Exception, operation: int, record: object) -> None:
        """Counts the record for which this operation has raised an exception.

        Raises the exception if it does not come from the job's own code.
        """
        if isinstance(error, NOT_THE_JOBS):
            raise error
        self.count += 1
        if self.count > MAX_LISTED:
            return
        part = self._operations[operation]
        fault = raised(error, self._files, place=part.place, operation=part.name, record=shown(record))
        self.reports.append(fault.report() | {"text": bounded(fault.text, MAX_TEXT), "traceback": ""})
