"""A job's files: which may be one, what they are called in a guest, and what a stranger's bundle may say of that."""

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from p2p.compute import bundles
from p2p.compute.bundles import Description
from p2p.errors import ConfigError, MalformedMessage
from p2p.wire import guest as frames
from tests.support.guest_process import guest
from tests.support.leaks import none_left

BROKEN = b"def half(n):\n    return n // 0\n\ndef job(inputs):\n    return inputs.range(2).map(half).sum()\n"


def described(title: str) -> Description:
    return Description(args={}, partitions=2, reduce_partitions=2, title=title)


class Header(msgspec.Struct):
    """Of a frame that loads a job."""

    do: str
    files: list[str]
    entry: str
    args: dict[str, Any]
    settings: dict[str, int]
    inputs: list[Any]
    job: str


@pytest.mark.parametrize("name", ["wordcount.py", "random.py", "p2p.py", "job.py", "ünï côde.py", "script"])
def test_a_guest_calls_a_file_as_its_user_does(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.write_bytes(BROKEN)
    files = bundles.whole(bundles.collect(file))
    bundles.write(tmp_path / "bundle", files, described(bundles.title_of(file)))
    description, read = bundles.read(tmp_path / "bundle")
    assert read == files
    header, blobs = frames.decode(bundles.load_frame("ab" * 32, read, description), Header)
    with none_left(), guest() as one:
        assert one.ask(msgspec.to_builtins(header), blobs)[0] == {"ok": "loaded", "blobs": []}
        plan = one.ask({"do": "plan"})[0]["plan"]
        told = one.ask({"unit": [0, 0, 0, plan["digest"], [0, 1]]})[0]
        one.end()
    assert (told["file"], told["line"], told["operation"], told["record"]) == (name, 2, "map", "0")
    assert told["traceback"].startswith(f'  File "{name}", line 2, in half\n    return n // 0\n')


@pytest.mark.parametrize("name", [b"\xff.py", b"a:b.py", b"<stage>", b"new\nline.py", "a\u202eb.py".encode()])
def test_a_name_that_cannot_be_shown_is_not(tmp_path: Path, name: bytes) -> None:
    file = Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), name)))
    file.write_bytes(BROKEN)
    assert bundles.title_of(file) == "job.py"
    assert bundles.collect(file) == {"job.py": BROKEN}


def test_a_folder_has_the_names_of_its_files(tmp_path: Path) -> None:
    (tmp_path / "job.py").write_bytes(BROKEN)
    assert bundles.title_of(tmp_path) == "job.py"


@pytest.mark.parametrize(
    "title", ["", "..", "a/b.py", "p2p/jobs/guest.py", "<stage>", "a\nb", "\u202e", "x" * 300, "helper.py", "ü" * 200]
)
def test_a_strangers_bundle_cannot_call_its_file_anything(tmp_path: Path, title: str) -> None:
    bundles.write(tmp_path, {"job.py": BROKEN, "helper.py": b""}, described(title))
    with pytest.raises(MalformedMessage):
        bundles.read(tmp_path)


def test_a_bundle_of_before_has_no_title(tmp_path: Path) -> None:
    bundles.write(tmp_path, {"job.py": BROKEN}, described("job.py"))
    (tmp_path / bundles.DESCRIPTION_FILE).write_bytes(b'{"args": {}, "partitions": 2, "reduce_partitions": 2}')
    assert bundles.read(tmp_path)[0].title == "job.py"


@pytest.mark.parametrize("taken", ["random.py", "json/__init__.py", "email/own/x.py", "p2p/jobs/dataset.py", "p2p.py"])
def test_names_of_other_peoples_modules(tmp_path: Path, taken: str) -> None:
    (tmp_path / "job.py").write_bytes(BROKEN)
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "random.py").write_bytes(b"")  # which nobody takes for Python's own
    assert set(bundles.collect(tmp_path)) == {"job.py", "parts/random.py"}
    file = tmp_path / taken
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"")
    with pytest.raises(ConfigError, match=rf"{taken.split('/')[0]} has the name of a module that comes with"):
        bundles.collect(tmp_path)
