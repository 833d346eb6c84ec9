"""C3: inputs that are not plain UTF-8 text are read right, or the user is told."""

import bz2
import gzip
import lzma
import os
from pathlib import Path
from typing import Any

import pytest

from p2p.compute.runtimes import all_runtimes
from p2p.errors import JobError
from p2p.progress import Progress
from tests.support.world import World, hint_of
from tests.support.world_jobs import run_job, volunteer, write_job

pytestmark = pytest.mark.usefixtures("compiled")
WORDS = """
def job(inputs):
    return sorted(inputs.lines().flat_map(str.split).map(lambda w: (w, 1)).reduce_by_key(lambda a, b: a + b).collect())
"""
RECORDS = "def job(inputs):\n    return inputs.records().map(lambda one: one['a']).sum()\n"
PLAIN: dict[str, Any] = {"runtime": "python-wasm"}
COUNT = "def job(inputs):\n    return inputs.lines().count()\n"


def folder_of(world: World, name: str, files: dict[str, bytes]) -> str:
    folder: Path = world.folder / name
    folder.mkdir()
    for path, data in files.items():
        (folder / path).write_bytes(data)
    return str(folder)


async def test_every_input_is_read_as_its_text_or_the_user_is_told(world: World) -> None:
    """dask/dask#7758: a compressed input was counted as if it were text; #2449: other encodings came out mangled."""
    owner, local = await world.peer("owner"), await volunteer(world)

    async def told(job: str, files: dict[str, bytes]) -> tuple[Any, list[str]]:
        progress, inputs = Progress(), folder_of(world, f"inputs-{len(list(world.folder.iterdir()))}", files)
        path = write_job(world, job)
        answer = await run_job(owner, path, [hint_of(local)], inputs=(inputs,), progress=progress, **PLAIN)
        return answer.result, [note for note in progress.notes if "unpacked" in note or "UTF-8" in note]

    text = b"one two\ntwo\n" * 5000
    files = {
        "a.txt": text,
        "b.gz": gzip.compress(text) + gzip.compress(text),
        "c": bz2.compress(text),
        "d.txt": "\ufeffone\r\ntwo\r\n".encode(),
        "e": "one two\n".encode("utf-16"),
    }
    result, notes = await told(WORDS, files)
    assert result == [["one", 20_002], ["two", 40_002]]
    whole = "unpacked, and so one unit a file (gz, bz2, utf-16): b.gz, c, e. More and smaller files make more units"
    assert notes == [whole]
    records = {"a.json": '\ufeff{"a": 1}\n{"a": 2}\n'.encode(), "b.json": b'{"a": 4}\n'}
    assert await told(RECORDS, records) == (7, [])
    result, notes = await told(COUNT, {"old.txt": "żółw\n".encode("iso-8859-2") * 50_000, "new.txt": b"a\n" * 50_000})
    assert result == 100_000
    assert len(notes) == 1
    assert notes[0].startswith("old.txt is not UTF-8")


async def test_a_file_cut_short_or_a_bomb_ends_its_unit_and_not_the_volunteer(world: World) -> None:
    owner, local = await world.peer("owner"), await volunteer(world)
    origin = await world.peer("origin")
    job = write_job(world, COUNT)
    bomb = gzip.compress(bytes(1 << 20)) * 100
    of_old_mac = b"a,b\r1,2\r3,4\r"
    for name, data, why in (
        ("log.gz", gzip.compress(b"a\n" * 9)[:-3], "is cut short"),
        ("bomb.gz", bomb, "a line of"),
        ("mac.csv", of_old_mac, "is a single line with carriage returns"),
        ("mac.csv.gz", gzip.compress(of_old_mac), "is a single line with carriage returns"),
    ):
        path = world.folder / name
        path.write_bytes(data)
        with pytest.raises(JobError, match=f"the input's file '{name}' .*{why}"):
            await run_job(owner, job, [hint_of(local)], inputs=(str(path),), **PLAIN)
    # A file that is fetched is recognised by its first bytes too, whatever its name.
    path = world.folder / "archive"
    path.write_bytes(gzip.compress(os.urandom(1 << 20).hex("\n").encode()))
    link = str((await world.publish_path(origin, path)).link)
    answer = await run_job(owner, job, [hint_of(local)], inputs=(link,), **PLAIN)
    assert answer.result == 1 << 20


async def test_a_runtime_without_the_codec_is_refused_before_any_unit(world: World) -> None:
    owner, progress = await world.peer("owner"), Progress()
    inputs = folder_of(world, "inputs", {"a.xz": lzma.compress(b"a\n")})
    with pytest.raises(
        JobError, match=r"cannot decompress xz, as a\.xz needs.*--runtime python-wasm-science.*--exclude '\*\.xz'"
    ) as error:
        await run_job(owner, write_job(world, COUNT), [], inputs=(inputs,), progress=progress, **PLAIN)
    assert "bz2 and gz" in str(error.value)
    inputs = folder_of(world, "more", {"a": b"\x28\xb5\x2f\xfd" + bytes(20)})
    with pytest.raises(JobError, match=r"cannot decompress zst, as a needs: .*\. Decompress the file first\."):
        await run_job(owner, write_job(world, COUNT), [], inputs=(inputs,), **PLAIN)


async def test_every_runtime_has_the_codecs_that_it_is_said_to_have(world: World) -> None:
    owner = await world.peer("owner")
    job = (
        "def job(inputs):\n    from importlib.util import find_spec\n"
        "    return [name for name in ('zlib', '_bz2', '_lzma', '_zstd') if find_spec(name)]\n"
    )
    for runtime in all_runtimes():
        answer = await run_job(owner, write_job(world, job), [], runtime=runtime.name)
        names = {"zlib": "gz", "_bz2": "bz2", "_lzma": "xz", "_zstd": "zst"}
        assert {names[module] for module in answer.result} == runtime.codecs
