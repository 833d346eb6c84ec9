"""Programs that tests start as processes of their own.

* `fetch_writer`: a fetch that writes its chunks, to be killed.
* `journal_writer`: an owner that keeps its journal, to be killed.
* `lan_listener`: a listener on the local network.
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def said_until_killed(program: str, *arguments: object, lines: int) -> tuple[list[str], int]:
    """Runs a program until it is killed after this many lines, or ends by itself; returns its whole lines and its exit
    code.

    Lines that are still in the pipe when the program is killed count as well.
    """
    command = [sys.executable, "-m", f"{__name__}.{program}", *map(str, arguments)]
    said = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, text=True) as process:
        assert process.stdout is not None
        for number, line in enumerate(process.stdout):
            if line.endswith("\n"):
                said.append(line.rstrip("\n"))
            if number == lines:
                process.kill()
    return said, process.returncode
