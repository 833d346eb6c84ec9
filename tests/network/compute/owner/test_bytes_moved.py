"""What a job has moved over the network: what its owner and volunteers say to each other, and what these fetch."""

from pathlib import Path

from p2p.node import Node
from p2p.progress import JobView, Progress
from tests.support.world import World, hint_of
from tests.support.world_jobs import MIB, run_job, volunteer, write_job

LINES = "def job(inputs):\n    return inputs.lines().map(len).sum()\n"
SIZE = 4 * MIB


def write_text(world: World) -> Path:
    path = world.folder / "text.txt"
    path.write_bytes(b"0123456\n" * (SIZE // 8))
    return path


async def run(world: World, owner: Node, text: Path, *nodes: Node) -> JobView:
    """The view of a job that reads all of the text."""
    progress = Progress()
    hints = [hint_of(node) for node in nodes]
    answer = await run_job(owner, write_job(world, LINES), hints, inputs=(str(text),), progress=progress, partitions=8)
    assert answer.result == 7 * SIZE // 8
    view = progress.view
    assert isinstance(view, JobView)
    assert view.bytes_fetched <= view.bytes_moved <= view.bytes_fetched + MIB
    return view


async def test_inputs_that_volunteers_fetch_are_counted(world: World) -> None:
    text = write_text(world)
    owner = await world.peer("owner")
    nodes = [await volunteer(world, f"volunteer{number}") for number in range(2)]
    view = await run(world, owner, text, *nodes)
    assert SIZE <= view.bytes_fetched <= sum(node.traffic.bytes_downloaded for node in nodes)


async def test_what_is_there_already_is_not_counted(world: World) -> None:
    text = write_text(world)
    owner, local = await world.peer("owner"), await volunteer(world)
    first = await run(world, owner, text, local)
    again = await run(world, owner, text, local)
    # The bundle is fetched again.
    assert first.bytes_fetched - again.bytes_fetched == SIZE
