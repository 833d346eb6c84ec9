"""An owner and volunteers of one core each, real processes on loopback, and jobs that are typed there."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.bench.support import shoal
from scripts.bench.support.measure import BenchError, run

PYTHON, SCIENCE, MODULE = "python-wasm", "python-wasm-science", "wasm"
VOLUNTEER = ("--volunteer", "--cores", "1")
NOBODY = "2m"
"""How long a job waits without any volunteer at work before it ends."""
LONGEST_S = 900.0
"""The most seconds that a job may take; the first may have a runtime to compile."""


@dataclass(frozen=True)
class Answer:
    """A finished job: the seconds that it reports, and those from typing the command to its end."""

    result: Any
    seconds: float
    wall_s: float
    units: int


@dataclass(frozen=True)
class Network:
    """Peers that are ready. Job files go into `folder`."""

    folder: Path
    owner: shoal.Node
    volunteers: tuple[shoal.Node, ...]

    def argv(self, job: str | bytes, *options: str, runtime: str, arguments: dict[str, Any]) -> list[str]:
        """The command that runs a job on the volunteers: a Python file with this text, or a module with these bytes."""
        path = self.folder / ("job.wasm" if isinstance(job, bytes) else "job.py")
        path.write_bytes(job if isinstance(job, bytes) else job.encode())
        argv = [*at(self.owner), "run", str(path), "--json", "--wait", NOBODY, "--runtime", runtime, *options]
        for name, value in arguments.items():
            argv += ["--arg", f"{name}={json.dumps(value)}"]
        for volunteer in self.volunteers:
            argv += ["--peer", volunteer.address]
        return argv

    def run(self, job: str | bytes, *options: str, runtime: str = PYTHON, **arguments: Any) -> Answer:
        """Runs the job to its end. Raises BenchError if it fails."""
        ran = run(self.argv(job, *options, runtime=runtime, arguments=arguments), timeout_s=LONGEST_S)
        answer = json.loads(ran.stdout)
        return Answer(answer["result"], float(answer["seconds"]), ran.wall_s, int(answer["units"]))


def at(node: shoal.Node) -> list[str]:
    """The arguments of the command for the peer's own home."""
    return [str(shoal.PROGRAM), "--home", str(node.home)]


@contextmanager
def network(work: Path, volunteers: int) -> Iterator[Network]:
    """Runs a new owner and new volunteers in the background, with homes in `work` and the runtime compiled."""
    with ExitStack() as stack:
        owner = stack.enter_context(shoal.node(work / "owner"))
        ready = tuple(stack.enter_context(shoal.node(work / f"v{n}", *VOLUNTEER)) for n in range(volunteers))
        made = Network(work, owner, ready)
        made.run(NO_OP, "--partitions", "1", units=1)
        yield made


NO_OP = """\
def job(inputs, units):
    return inputs.range(units).count()
"""


def check(answer: Answer, expected: Any) -> Answer:
    """Returns the answer if its result is right. Raises BenchError."""
    if answer.result != expected:
        raise BenchError(f"WRONG RESULT: {str(answer.result)[:200]} instead of {str(expected)[:200]}")
    return answer
