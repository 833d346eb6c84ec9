"""Native sandboxes for tests. They need bubblewrap; where SHOAL_TEST_CLUSTERS is set, as in CI, it must be there."""

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from p2p.sandbox.native.programs import Process
from p2p.sandbox.native.spec import Bind, Limits, Spec

MUST_RUN = bool(os.environ.get("SHOAL_TEST_CLUSTERS"))
needs_bubblewrap = pytest.mark.skipif(not shutil.which("bwrap") and not MUST_RUN, reason="bubblewrap is not installed")


def bubblewrap() -> str:
    """The path of bubblewrap. Fails where it is missing and must not be."""
    found = shutil.which("bwrap")
    assert found, "bubblewrap is missing"
    return found


UIDS = 760_000, 16
"""Users that tests run sandboxes as where they are root themselves."""
LIMITS = Limits(cores=1, memory=256 << 20, disk=64 << 20, processes=64)


def spec(
    binds: Sequence[tuple[Path, str]] = (),
    python: str = "/usr/bin/python3",
    variables: Mapping[str, str] | None = None,
    limits: Limits = LIMITS,
) -> Spec:
    """A sandbox with this machine's own /usr."""
    return Spec(
        hostname="m0",
        binds=tuple(Bind(*bind) for bind in binds),
        root=None,
        python=python,
        variables={"FROM_SPEC": "spec", **(variables or {})},
        files={},
        limits=limits,
    )


async def printed(process: Process) -> str:
    """All that a program prints until it ends."""
    parts = []
    while piece := await process.output.receive_some():
        parts.append(piece)
    return b"".join(parts).decode()
