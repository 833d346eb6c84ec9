"""The report of what went wrong with a unit, as a guest or worker sends it and as it is shown to the user."""

from typing import Annotated, Literal

import msgspec

MAX_TEXT = 8192
STATE_KEPT = "StateKept"
"""The kind of report that says that the job keeps state between units."""
_Text = Annotated[str, msgspec.Meta(max_length=MAX_TEXT)]
_Short = Annotated[str, msgspec.Meta(max_length=255)]


class Report(msgspec.Struct, frozen=True, gc=False):
    """What went wrong: the job failed (`job`), a guest made a different plan (`plan`), or hit a limit (`limit`)."""

    error: Literal["job", "plan", "limit"]
    text: _Text = ""
    kind: _Short = ""
    traceback: _Text = ""
    line: Annotated[int, msgspec.Meta(ge=0, lt=2**31)] | None = None
    operation: _Short = ""
    record: _Short = ""
    file: _Short | None = None

    @property
    def shows_later(self) -> bool:
        """Whether what it says may show only in a guest that has run other units before."""
        return self.error == "job" and self.kind == STATE_KEPT

    def told(self, stage: int | None = None, partition: int = 0, action: int = 0) -> str:
        """Text for the user: what happened, and where. No stage means while planning or finishing an action."""
        first = f"{self.kind or 'The job'}: {self.text}" if self.error == "job" else self.text
        where = [
            f"partition {partition} of stage {stage}" if stage is not None else "",
            f"line {self.line}{f' of {self.file}' if self.file else ''}" if self.line is not None else "",
            f"in {self.operation}" if self.operation else "",
        ]
        lines = [first]
        if any(where):
            lines.append(f"  at {', '.join(filter(None, where))}")
        if self.record:
            lines.append(f"  record: {self.record}")
        if stage is not None:
            lines.append(f"  unit: {action}.{stage}.{partition}")
        frames = self.traceback.rstrip().removesuffix(first).rstrip()
        if frames:
            lines.append(frames)
        return "\n".join(lines)
