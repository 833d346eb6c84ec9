"""The end of what each program of a cluster has printed. It is a stranger's word, and bounded."""

from p2p.log import printable_lines

KEPT_BYTES = 64 * 1024


class Log:
    """What one program printed; the oldest goes first."""

    def __init__(self, member: int, program: str) -> None:
        self.member = member
        self.program = program
        self._kept = bytearray()

    def add(self, piece: bytes) -> None:
        self._kept += piece
        del self._kept[:-KEPT_BYTES]

    def says(self, text: str) -> bool:
        """Whether it has printed this, lately."""
        return text.encode() in self._kept

    def end(self, lines: int = 0) -> str:
        """The last lines, for a terminal; all that is kept if no number is given."""
        text = self._kept.decode("utf-8", "replace").strip()
        return printable_lines("\n".join(text.splitlines()[-lines:]))
