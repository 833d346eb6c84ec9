"""What went wrong with a unit, as a guest or a worker tells it, and as the user reads it."""

from typing import Annotated, Literal

import msgspec

MOST_TEXT = 8192
_Text = Annotated[str, msgspec.Meta(max_length=MOST_TEXT)]
_Short = Annotated[str, msgspec.Meta(max_length=255)]


class Report(msgspec.Struct, frozen=True, gc=False):
    """The job's own fault (`job`), a guest that plans otherwise (`plan`), or a limit that was reached (`limit`)."""

    error: Literal["job", "plan", "limit"]
    text: _Text = ""
    kind: _Short = ""
    traceback: _Text = ""
    line: Annotated[int, msgspec.Meta(ge=0, lt=2**31)] | None = None
    operation: _Short = ""
    record: _Short = ""

    def told(self, stage: int, partition: int) -> str:
        """For people: what happened, and where."""
        where = f"partition {partition} of stage {stage}"
        if self.line is not None:
            where += f", line {self.line}"
        if self.operation:
            where += f", in {self.operation}"
        lines = [f"{self.kind or 'The job'}: {self.text}" if self.error == "job" else self.text, f"  at {where}"]
        if self.record:
            lines.append(f"  record: {self.record}")
        if self.traceback:
            lines.append(self.traceback.rstrip())
        return "\n".join(lines)
