"""What jobs need of this machine: its runtimes, compiled, and what it offers of itself."""

from collections.abc import Callable

from p2p.errors import SandboxFailed
from p2p.jobs.bootstrap import BOOTSTRAP
from p2p.sandbox import compiled, runtimes
from p2p.sandbox.runtimes import Runtime
from p2p.services.local import Local
from p2p.services.volunteer import Volunteering


def all_runtimes() -> list[Runtime]:
    """Those that are installed here."""
    science = runtimes.python_science(BOOTSTRAP)
    return [runtimes.python(BOOTSTRAP), *([science] if science is not None else [])]


async def runtime_for(name: str, tell: Callable[[str], None]) -> Runtime:
    """The runtime of that name, compiled; `tell` gets what to show meanwhile. Raises SandboxFailed."""
    for runtime in all_runtimes():
        if runtime.name == name:
            await compiled.ensure_compiled(compiled.default_folder(), runtime, tell)
            return runtime
    raise SandboxFailed(f"There is no runtime {name} here.")


def volunteering(local: Local) -> Volunteering:
    """What this peer offers, as it is set."""
    offered = local.config.volunteer
    return Volunteering(local, all_runtimes(), offered.cores, offered.memory_bytes, offered.cache_bytes)
