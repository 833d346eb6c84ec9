"""What is compiled before there is a guest: the job API of this version, for jobs that bring the same one."""

from collections.abc import Mapping

import pytest

from p2p.compute import bundles, runtimes
from p2p.compute.bundles import Description
from p2p.sandbox import compiled
from p2p.sandbox.limits import GuestLimits
from p2p.sandbox.sandbox import open_sandbox

pytestmark = pytest.mark.usefixtures("python")

JOB = b"""\
import sys
from p2p.jobs import units

frame = sys._getframe()
while "COMPILED" not in frame.f_globals:
    frame = frame.f_back
_, code = frame.f_globals["COMPILED"]["p2p/jobs/units.py"]
print(any(one is units.finish.__code__ for one in code.co_consts))

def job(inputs):
    return inputs.range(1).count()
"""


async def loaded(files: Mapping[str, bytes]) -> tuple[bytes, bytes]:
    """What a new guest answers to being loaded with a job of these files, and what it printed."""
    runtime = runtimes.all_runtimes()[0]
    load = bundles.load_frame("ab" * 32, files, Description({}, 1, 1))
    async with open_sandbox(1, compiled.default_folder()) as sandbox:
        guest = await sandbox.guest(runtime)
        return await guest.call(load, seed=bytes(32), limits=GuestLimits())


async def test_a_guest_uses_what_was_compiled_before_it_had_a_job() -> None:
    reply, printed = await loaded(bundles.whole({"job.py": JOB}))
    assert b'"ok": "loaded"' in reply
    assert printed == b"True\n"


@pytest.mark.parametrize("path", ["guest.py", "units.py"])
async def test_a_job_runs_the_api_of_its_own_bundle(path: str) -> None:
    files = bundles.whole({"job.py": JOB.replace(b"any(one", b"units.__doc__, any(one")})
    changed = {
        "guest.py": (b'{"ok": "loaded"}', b'{"ok": "loaded otherwise"}'),
        "units.py": (b'"""Runs one unit', b'"""Runs one unit otherwise'),
    }[path]
    files[f"p2p/jobs/{path}"] = files[f"p2p/jobs/{path}"].replace(*changed)
    reply, printed = await loaded(files)
    assert b"loaded" in reply
    assert (b'"loaded otherwise"' in reply) == (path == "guest.py")
    assert (b"otherwise" in printed) == (path == "units.py")
    assert (b"True" in printed) == (path == "guest.py")
