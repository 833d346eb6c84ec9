"""What is loaded before there is a guest: the job API of this version, for jobs that bring the same one."""

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from blake3 import blake3

from p2p.compute import bundles, runtimes
from p2p.compute.bundles import Description
from p2p.errors import SandboxFailed
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


async def loaded(files: Mapping[str, bytes], cache: Path | None = None) -> tuple[bytes, bytes]:
    """What a new guest answers to being loaded with a job of these files, and what it printed."""
    runtime = runtimes.all_runtimes()[0]
    load = bundles.load_frame("ab" * 32, files, Description({}, 1, 1))
    async with open_sandbox(1, cache or compiled.default_folder()) as sandbox:
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


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    """A cache that has the compiled runtime, and nothing else."""
    runtime, cache = runtimes.all_runtimes()[0], tmp_path / "cache"
    cache.mkdir(mode=0o700)
    made = compiled.place(cache, runtime)
    made.write_bytes(compiled.place(compiled.default_folder(), runtime).read_bytes())
    made.chmod(0o600)
    return cache


def kept_in(cache: Path) -> list[Path]:
    return [*cache.glob("ahead-*"), *cache.glob(".new-*")]


def another(kept: Path) -> None:
    """Has the kept code say something else than its source."""
    frame = kept.read_bytes()[32:]
    before, _, code = frame.rpartition(b"Runs one unit:")
    frame = before + b"Runs the kept:" + code
    kept.write_bytes(blake3(frame).digest() + frame)


async def test_what_the_api_is_compiled_to_is_kept_for_the_next_worker(empty: Path) -> None:
    files = bundles.whole({"job.py": JOB})
    assert (await loaded(files, empty))[1].startswith(b"False Runs one unit")
    (kept,) = kept_in(empty)
    another(kept)
    assert (await loaded(files, empty))[1].startswith(b"False Runs the kept")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda kept: kept.chmod(0o622),
        lambda kept: os.truncate(kept, 100_000),
        lambda kept: os.truncate(kept, 0),
        lambda kept: kept.write_bytes(bytes(32) + kept.read_bytes()[32:]),
        lambda kept: kept.replace(kept.with_name("elsewhere")).with_name(kept.name).symlink_to("elsewhere"),
    ],
    ids=["that others may write", "cut short", "empty", "with another digest", "behind a link"],
)
async def test_a_kept_file_is_not_believed_and_made_again(empty: Path, spoil: Callable[[Path], object]) -> None:
    files = bundles.whole({"job.py": JOB})
    await loaded(files, empty)
    (kept,) = kept_in(empty)
    good = kept.read_bytes()
    another(kept)
    spoil(kept)
    assert (await loaded(files, empty))[1].startswith(b"False Runs one unit")
    assert kept.read_bytes() == good
    assert kept.stat().st_mode & 0o777 == 0o600


async def test_a_runtime_that_cannot_be_made_ready_is_an_error_and_nothing_is_kept(empty: Path) -> None:
    runtime = replace(runtimes.all_runtimes()[0], ahead=b"nonsense")
    async with open_sandbox(1, empty) as sandbox:
        with pytest.raises(SandboxFailed, match="does not start"):
            await sandbox.prepare(runtime)
    assert not kept_in(empty)
