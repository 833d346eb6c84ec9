"""What is loaded before there is a guest: the job API of this version, for jobs that bring the same one."""

from collections.abc import Mapping

import pytest

from p2p.compute import bundles, runtimes
from p2p.compute.bundles import Description
from p2p.sandbox import compiled
from p2p.sandbox.limits import GuestLimits
from p2p.sandbox.sandbox import open_sandbox

pytestmark = pytest.mark.usefixtures("python")

JOB = b"""\
from p2p.jobs import units

print(units.__spec__.loader is __spec__.loader, units.__doc__.split(":")[0])

def job(inputs):
    return inputs.range(1).count()
"""
"""Prints whether the API was loaded with the job, or before it."""


async def loaded(files: Mapping[str, bytes]) -> tuple[bytes, bytes]:
    """What a new guest answers to being loaded with a job of these files, and what it printed."""
    runtime = runtimes.all_runtimes()[0]
    load = bundles.load_frame("ab" * 32, files, Description({}, 1, 1))
    async with open_sandbox(1, compiled.default_folder()) as sandbox:
        guest = await sandbox.guest(runtime)
        return await guest.call(load, seed=bytes(32), limits=GuestLimits())


async def test_the_job_api_is_loaded_before_a_guest_has_a_job() -> None:
    reply, printed = await loaded(bundles.whole({"job.py": JOB}))
    assert b'"ok": "loaded"' in reply
    assert printed.startswith(b"False Runs one unit")


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        ("guest.py", b'{"ok": "loaded"}', b'{"ok": "otherwise"}'),
        ("units.py", b'"""Runs one unit:', b'"""Runs otherwise:'),
    ],
)
async def test_a_job_runs_the_api_of_its_own_bundle(path: str, old: bytes, new: bytes) -> None:
    files = bundles.whole({"job.py": JOB})
    files[f"p2p/jobs/{path}"] = files[f"p2p/jobs/{path}"].replace(old, new)
    reply, printed = await loaded(files)
    assert printed.startswith(b"True Runs")
    assert b"otherwise" in reply + printed


async def test_a_bundle_with_another_file_of_the_api_brings_its_own() -> None:
    files = {**bundles.whole({"job.py": JOB}), "p2p/jobs/later.py": b""}
    reply, printed = await loaded(files)
    assert b'"ok": "loaded"' in reply
    assert printed.startswith(b"True Runs one unit")
