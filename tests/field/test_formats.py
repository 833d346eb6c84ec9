"""What was wanted most of shares and jobs, and would be dear to add later."""

from p2p.control.protocol import GetRequest, ShareRequest
from p2p.wire.link import parse_link
from tests.support.world import World, asked, hint_of


async def test_what_a_share_leaves_out_is_left_out_when_it_is_shared_again(world: World) -> None:
    """Sources: croc#508, syncthing#2491."""
    origin, fetcher = await world.peer("origin"), await world.peer("fetcher")
    folder = world.folder / "project"
    for name in ("a.py", "a.pyc", "build/out", "secret"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    (folder / ".shoalignore").write_text("/secret\n")
    first = await asked(origin, ShareRequest(paths=(str(folder),), exclude=("*.pyc", "build/")))
    assert (first.files, first.left_out) == (1, 4)
    (folder / "b.pyc").write_bytes(b"x")
    again = await asked(origin, ShareRequest(paths=(str(folder),)))
    assert again.id == first.id
    everything = await asked(origin, ShareRequest(paths=(str(folder),), exclude=()))
    assert everything.files == 4

    out = world.folder / "out"
    peers = (str(hint_of(origin).address),)
    await asked(fetcher, GetRequest(link=everything.link, out=str(out), peers=peers, exclude=("*.pyc",)))
    assert sorted(path.name for path in out.rglob("*") if path.is_file()) == ["a.py", "out"]
    share = fetcher.library.share(parse_link(everything.link).share_id)
    assert share is not None
