"""What was said badly, or could not be done."""

import os
from pathlib import Path

import pytest
import trio

from p2p.control.protocol import Event, GetRequest, Note, ShareRequest
from p2p.errors import ConfigError, StorageError
from p2p.log import printable
from p2p.sharing.returning import Returning
from p2p.wire.link import parse_link
from tests.support.world import World, asked, hint_of, until

HEBREW = "\u05e9\u05dc\u05d5\u05dd\u200f (1).txt"


def built(top: Path, *files: str) -> Path:
    for file in files:
        (top / file).parent.mkdir(parents=True, exist_ok=True)
        (top / file).write_bytes(file.encode())
    return top


@pytest.mark.parametrize(
    "glob",
    [
        "Season [1]/a [x].mkv",
        "Season [1]",
        "Season [1]/*",
        "films/Season [1]/",
        "{out}/films/Season [1]/a [x].mkv",
        "{out}/films/Season [1]",
        "Season [[]1]/*",
        "Season ?1?/*",
        "./Season [1]",
        ".//Season [1]/*.mkv",
    ],
)
async def test_a_selection_means_the_names_that_were_said(world: World, glob: str) -> None:
    """Sources: rclone#1164, #1233."""
    origin, reader = await world.peer("origin"), await world.peer("reader")
    folder = built(world.folder / "films", "Season [1]/a [x].mkv", "Season 1/b", "c")
    link = (await asked(origin, ShareRequest(paths=(str(folder),)))).link
    out, peers = str(world.out(reader)), (str(hint_of(origin).address),)
    answer = await asked(reader, GetRequest(link=link, out=out, peers=peers, select=(glob.format(out=out),)))
    assert answer.paths == (f"{out}/films/Season [1]/a [x].mkv",)


async def test_a_class_of_characters_is_still_one_where_no_name_is_meant(world: World) -> None:
    origin, reader = await world.peer("origin"), await world.peer("reader")
    link = (await asked(origin, ShareRequest(paths=(str(built(world.folder / "data", "a1", "a2", "a3")),)))).link
    out, peers = str(world.out(reader)), (str(hint_of(origin).address),)
    answer = await asked(reader, GetRequest(link=link, out=out, peers=peers, select=("a[12]",)))
    assert len(answer.paths) == 2
    with pytest.raises(ConfigError, match="has, for example: a1"):
        await asked(reader, GetRequest(link=link, out=out, peers=peers, select=("b",)))


async def test_of_several_selections_one_that_matches_nothing_is_told(world: World) -> None:
    origin, reader = await world.peer("origin"), await world.peer("reader")
    link = (await asked(origin, ShareRequest(paths=(str(built(world.folder / "data", "a", "b")),)))).link
    peers, said = (str(hint_of(origin).address),), list[str]()

    async def emit(event: Event) -> None:
        if isinstance(event, Note):
            said.append(event.text)

    request = GetRequest(link=link, out=str(world.out(reader)), peers=peers, select=("a", "b.txt"))
    answer = await reader.operations.perform(request, emit, keep_serving=False)
    assert [Path(path).name for path in answer.paths] == ["a"]
    assert said == ["nothing in the share matches 'b.txt'"]


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/proc/version", "/proc/version cannot be shared: its system gives it no size"),
        ("/proc/self/mem", "/proc/self/mem cannot be shared: Input/output error"),
        ("/dev/zero", "/dev/zero cannot be shared: it is not a regular file"),
    ],
)
async def test_what_has_no_size_is_not_shared_as_an_empty_file(world: World, path: str, says: str) -> None:
    origin = await world.peer("origin")
    with pytest.raises(ConfigError, match=f"^{says}"):
        await asked(origin, ShareRequest(paths=(path,)))


async def test_what_patterns_leave_out_is_told(world: World) -> None:
    origin = await world.peer("origin")
    folder = built(world.folder / "data", "a")
    with pytest.raises(ConfigError, match="Patterns leave out 1 of its files and folders"):
        await asked(origin, ShareRequest(paths=(str(folder),), exclude=("*",)))


async def test_an_output_folder_that_takes_no_files_is_named(world: World) -> None:
    """It was a file with a name of Shoal's own that could not be written."""
    origin, reader = await world.peer("origin"), await world.peer("reader")
    link = (await asked(origin, ShareRequest(paths=(str(built(world.folder / "data", "a")),)))).link
    request = GetRequest(link=link, out="/proc/self", peers=(str(hint_of(origin).address),))
    with pytest.raises(StorageError, match=r"Cannot write to /proc/self: .*choose another --out"):
        await asked(reader, request)


async def test_names_with_direction_marks_are_shared_and_others_are_said_truly(world: World) -> None:
    """Sources: syncthing#2801, #3635."""
    origin, reader = await world.peer("origin"), await world.peer("reader")
    folder = built(world.folder / "names", HEBREW, "ok")
    (folder / os.fsdecode(b"na\xefve")).write_bytes(b"")
    (folder / "ab\u202ecd").write_bytes(b"")
    shared = await asked(origin, ShareRequest(paths=(str(folder),)))
    assert (shared.files, shared.skipped_count) == (2, 2)
    assert {Path(one.path).name: one.why for one in shared.skipped} == {
        "na\\udcefve": "its name is not UTF-8; rename it",
        "ab\u202ecd": "its name has a separator, a control character or one that changes the direction of text",
    }
    await world.get(reader, parse_link(shared.link), [hint_of(origin)])
    assert (world.out(reader) / "names" / HEBREW).exists()
    assert printable(HEBREW) == HEBREW.replace("\u200f", "\\u200f")


async def test_a_file_that_is_shared_under_a_name_arrives_under_it(world: World) -> None:
    origin, reader = await world.peer("origin"), await world.peer("reader")
    file = built(world.folder, "draft-7.txt") / "draft-7.txt"
    first = await asked(origin, ShareRequest(paths=(str(file),), name="Report.txt"))
    done = await world.get(reader, parse_link(first.link), [hint_of(origin)])
    assert [path.name for path in done.paths] == ["Report.txt"]
    again = await asked(origin, ShareRequest(paths=(str(file),), name="Report.txt"))
    assert (again.id, again.reused) == (first.id, again.bytes)


async def test_a_share_is_served_again_when_its_disk_is_back(world: World) -> None:
    """Sources: qBittorrent#854, #23612."""
    origin, reader = await world.peer("origin"), await world.peer("reader")
    disk = built(world.folder / "disk", "data/a", "data/b")
    shared = await asked(origin, ShareRequest(paths=(str(disk / "data"),)))
    disk.rename(world.folder / "unplugged")
    link, returning = parse_link(shared.link), Returning(origin.library, origin.swarms, origin.disk, origin.changes)

    def stale() -> bool:
        (row,) = origin.library.shares()
        return row.stale is not None

    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.get, reader, link, [hint_of(origin)])
        await until(stale)
        await returning.look()
        assert stale()
        (world.folder / "unplugged").rename(disk)
        await returning.look()
        assert not stale()
    assert (world.out(reader) / "data/a").read_bytes() == b"data/a"


def restored(top: Path) -> None:
    """Makes the files again, as another mount of a disk with FAT shows them: other inodes, times of 2 s."""
    for path in [path for path in top.rglob("*") if path.is_file()]:
        modified_ns = path.stat().st_mtime_ns // 2_000_000_000 * 2_000_000_000
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content)
        os.utime(path, ns=(modified_ns, modified_ns))


async def test_a_share_on_a_disk_that_was_mounted_again_is_hashed_rather_than_stale(world: World) -> None:
    origin, reader = await world.peer("origin"), await world.peer("reader")
    top = built(world.folder / "data", "a", "b")
    link = parse_link((await asked(origin, ShareRequest(paths=(str(top),)))).link)
    restored(top)
    await world.get(reader, link, [hint_of(origin)])
    (row,) = origin.library.shares()
    assert row.stale is None


async def test_a_stale_share_whose_disk_is_mounted_again_is_hashed(world: World) -> None:
    origin = await world.peer("origin")
    top = built(world.folder / "data", "a", "b")
    share = parse_link((await asked(origin, ShareRequest(paths=(str(top),)))).link).share_id
    returning = Returning(origin.library, origin.swarms, origin.disk, origin.changes)

    async def is_back() -> bool:
        origin.library.mark_stale(share, "gone")
        await returning.look()
        (row,) = origin.library.shares()
        return row.stale is None

    restored(top)
    assert await is_back()
    status = (top / "b").stat()
    (top / "b").write_bytes(b"x")
    os.utime(top / "b", ns=(status.st_mtime_ns, status.st_mtime_ns))
    assert not await is_back()
    assert not await is_back()


async def test_files_with_holes_arrive_with_holes(world: World) -> None:
    origin, reader = await world.peer("origin"), await world.peer("reader")
    folder = world.folder / "images"
    folder.mkdir()
    for name in ("disk.img", "copy.img"):
        with (folder / name).open("wb") as file:
            file.truncate(40 * 1024 * 1024)
            file.seek(17 * 1024 * 1024)
            file.write(b"data")
    shared = await asked(origin, ShareRequest(paths=(str(folder),)))
    await world.get(reader, parse_link(shared.link), [hint_of(origin)])
    for name in ("disk.img", "copy.img"):
        arrived = world.out(reader) / "images" / name
        assert arrived.read_bytes() == (folder / name).read_bytes()
        assert arrived.stat().st_blocks * 512 < 2 * 1024 * 1024
