"""The runtime of plain jobs, compiled once for all homes of this user, as the first job would."""

import pytest
import trio

from p2p.compute.runtimes import runtime_for


def compile_once() -> None:
    """Compiles the runtime unless it is compiled."""
    trio.run(runtime_for, "python-wasm", lambda text: None)


@pytest.fixture(scope="module")
def compiled() -> None:
    """Compiles the runtime before the tests of a module, so that it takes none of their time."""
    compile_once()
