"""A cache of its own for the modules that tests make; the user's own for Python, which is compiled once a machine."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from p2p.sandbox import compiled, runtimes
from p2p.sandbox.runtimes import Runtime
from p2p.sandbox.sandbox import Sandbox, open_sandbox
from tests.support import guest_programs
from tests.support.guest_programs import CORES, ModuleOf
from tests.support.leaks import clean as clean


@pytest.fixture(scope="session")
def python() -> Runtime:
    runtime = runtimes.python(guest_programs.EXECUTE)
    trio.run(compiled.ensure_compiled, compiled.default_folder(), runtime, print)
    return runtime


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache") / "compiled"


@pytest.fixture(scope="session")
def module_of(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> ModuleOf:
    """Compiles a module's text, once in a session."""
    folder = tmp_path_factory.mktemp("modules")

    def make(text: str) -> Runtime:
        runtime = runtimes.for_module(guest_programs.write_module(folder, f"{abs(hash(text))}", text))
        trio.run(compiled.ensure_compiled, cache, runtime, print)
        return runtime

    return make


@pytest.fixture(scope="session")
def obedient(module_of: ModuleOf) -> Runtime:
    return module_of(guest_programs.OBEDIENT)


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with open_sandbox(CORES, compiled.default_folder()) as opened:
        yield opened


@pytest.fixture
async def modules(cache: Path) -> AsyncIterator[Sandbox]:
    """A sandbox whose cache has the tests' own modules."""
    async with open_sandbox(CORES, cache) as opened:
        yield opened
