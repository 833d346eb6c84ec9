"""E: what is said of jobs: what they took, their result once more, and what goes on while a runtime is compiled."""

import signal
import tomllib
from pathlib import Path

import pytest
import trio

from p2p.compute import runtimes
from p2p.compute.answers import JobAnswer
from p2p.control.protocol import ResultRequest, VolunteerRequest
from p2p.errors import ConfigError, JobError, NotFound
from p2p.progress import Progress
from tests.support.compiled import compiled as compiled
from tests.support.leaks import clean as clean
from tests.support.processes import Peer
from tests.support.world import World, asked, hint_of, until
from tests.support.world import world as world
from tests.support.world_jobs import SUM, run_job, volunteer, write_job

ROOT = Path(__file__).parents[2]
BAD = "def job(inputs):\n    return inputs.range(1).map(lambda n: 1 // n).sum()\n"


@pytest.mark.usefixtures("compiled", "clean")
async def test_a_result_is_had_again_and_says_what_it_took(world: World) -> None:
    nodes = [await volunteer(world, name) for name in ("one", "other")]
    owner = await world.peer("owner")
    hints = [hint_of(node) for node in nodes]
    answer = await run_job(owner, write_job(world, SUM), hints, partitions=40)
    assert answer.units == 40
    assert isinstance(answer.volunteers, int)
    assert 1 <= answer.volunteers <= 2
    assert isinstance(answer.core_s, float)
    assert answer.core_s > 0
    assert isinstance(answer.bytes_moved, int)
    assert answer.bytes_moved > 0
    with pytest.raises(JobError) as failed:
        await run_job(owner, write_job(world, BAD, "bad.py"), hints)
    stopped = write_job(world, "def job(inputs):\n    while True:\n        pass\n", "stopped.py")
    with trio.move_on_after(60) as scope:
        async with trio.open_nursery() as nursery:

            async def begin() -> None:
                await run_job(owner, stopped, hints, progress=Progress(), unit_time_s=60.0)

            nursery.start_soon(begin)
            await until(lambda: owner.jobs.under_way)
            nursery.cancel_scope.cancel()
    assert not scope.cancelled_caught
    await world.stop("owner")
    again = await world.peer("owner")
    rows = {row.name: row.job for row in await again.jobs.listed()}
    told: JobAnswer = await asked(again, ResultRequest(id=rows["job.py"][:8]))
    assert told == answer
    with pytest.raises(JobError, match="ZeroDivisionError") as once_more:
        await asked(again, ResultRequest(id=rows["bad.py"]))
    assert str(once_more.value) == str(failed.value)
    with pytest.raises(ConfigError, match="not done yet"):
        await asked(again, ResultRequest(id=rows["stopped.py"]))
    await again.jobs.cancel(rows["stopped.py"])
    with pytest.raises(ConfigError, match="cancelled"):
        await asked(again, ResultRequest(id=rows["stopped.py"]))
    # As with a journal of an earlier version.
    with again.journal._database.transaction() as connection:
        connection.execute("DELETE FROM job_action")
    with pytest.raises(NotFound, match="no longer kept"):
        await asked(again, ResultRequest(id=rows["job.py"]))


@pytest.mark.usefixtures("compiled")
def test_a_line_says_what_a_job_took(tmp_path: Path) -> None:
    job = tmp_path / "job.py"
    job.write_text(SUM)
    owner, other = Peer(tmp_path / "owner"), Peer(tmp_path / "other")
    with other.node("--volunteer", "--cores", "1") as lent:
        outcome = owner.run("run", job, "--peer", lent.address, "--partitions", "4")
    assert outcome.out == f"{sum(i * i for i in range(60))}\n"
    *_, last = outcome.err.splitlines()
    assert last.startswith("It took ")
    assert ": 4 units on 1 volunteer, " in last
    again = owner.run(*last.partition("`shoal ")[2].partition("`")[0].split())
    assert again.out == outcome.out


def test_ctrl_c_while_a_runtime_is_compiled_does_not_say_that_the_job_is_kept(tmp_path: Path) -> None:
    """C7: `shoal jobs` listed none."""
    job = tmp_path / "job.py"
    job.write_text(SUM)
    owner = Peer(tmp_path / "owner")
    where = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    with owner.start("run", job, "--partitions", "1", "--runtime", "python-wasm", **where) as running:
        running.says("Compiling python-wasm for this machine")
        outcome = running.end(signal.SIGINT)
    assert outcome.code == 130
    assert outcome.err.endswith(
        "Interrupted. The job had not begun, and nothing of it is kept: run the same command again.\n"
    )
    assert owner.run("jobs", "--json").json() == []


@pytest.mark.usefixtures("clean")
async def test_a_volunteer_says_that_it_compiles(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(world.folder / "cache"))
    local = await world.peer("local", volunteer={"cores": 1})
    assert local.volunteering is not None
    assert "python-wasm" in await local.volunteering.to_compile()
    await until(lambda: local.volunteering is not None and local.volunteering.compiling)
    assert (await asked(local, VolunteerRequest())).compiling == "python-wasm"


async def test_what_to_install_is_a_package_that_exists(monkeypatch: pytest.MonkeyPatch) -> None:
    """`pip install 'shoal[science]'` asks for a name that is not registered."""
    monkeypatch.setattr(runtimes, "all_runtimes", lambda: ())
    with pytest.raises(ConfigError) as told:
        await runtimes.runtime_for("python-wasm-science", print)
    (package,) = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["science"]
    assert str(told.value).endswith(f"-m pip install '{package}'")
