"""Commands of the owner's user in the member on the owner's own machine: whatever finds the engine from within."""

import base64
import os
import signal
from collections.abc import Mapping

import trio

from p2p.cluster.engines.engine import Program
from p2p.cluster.owner.programs import Output, Programs
from p2p.cluster.owner.seats import Seat
from p2p.errors import ConfigError, SandboxFailed
from p2p.formats import quoted

STOP_S = 2.0
MAX_FILE_BYTES = 64 * 1024
_WRITE = "import base64, sys; open(sys.argv[1], 'wb').write(base64.b64decode(sys.argv[2]))"


class Commands:
    """Runs commands in the member of this seat, with these variables; `python` is its interpreter."""

    def __init__(self, programs: Programs, seat: Seat, variables: Mapping[str, str], python: str) -> None:
        self._programs = programs
        self._seat = seat
        self._variables = variables
        self._python = python

    async def run(self, argv: tuple[str, ...], variables: Mapping[str, str], emit: Output) -> int:
        """Runs a command. Returns its exit code. If cancelled, the command ends. Raises SandboxFailed."""
        program = Program("command", argv, "", {**self._variables, **variables})
        one = await self._programs.start(self._seat, program, emit)
        try:
            await one.over.wait()
        finally:
            if not one.over.is_set():
                with trio.CancelScope(shield=True), trio.move_on_after(STOP_S):
                    await one.signal(signal.SIGTERM)
                    await one.over.wait()
                with trio.CancelScope(shield=True), trio.move_on_after(STOP_S):
                    await one.signal(signal.SIGKILL)
        if one.reason:
            raise SandboxFailed(f"The command did not run: {one.reason}.")
        assert one.code is not None
        return one.code

    async def put(self, name: str, content: bytes) -> None:
        """Puts a file into the folder in which commands run. Raises ConfigError, SandboxFailed.

        A program inside writes it: whatever has been put there meanwhile is followed within the sandbox alone.
        """
        if os.path.basename(name) != name or len(content) > MAX_FILE_BYTES:
            raise ConfigError(f"{quoted(name)} cannot be sent: one file of at most {MAX_FILE_BYTES >> 10} KiB can.")
        encoded = base64.b64encode(content).decode()

        async def ignore(piece: bytes) -> None:
            pass

        if await self.run((self._python, "-I", "-S", "-c", _WRITE, name, encoded), {}, ignore):
            raise SandboxFailed(f"{quoted(name)} cannot be written in your member: its disk may be full.")
