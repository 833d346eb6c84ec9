"""Compiles the job API in a guest's process before there is a guest, so that every guest has it compiled.

The frame that the bootstrap reads first has this file in the place of `guest.py`, and the API's files beside it, below
`FOLDER`. Then the process is parked. The next frame is that of a job, and is started as the bootstrap would start it.
A job runs the API of its own bundle: what was compiled here is used for those of its files that are the same, byte for
byte.
"""

import json
from collections.abc import Mapping
from types import CodeType
from typing import Any, BinaryIO

FOLDER = "ahead/"
_GUEST = "p2p/jobs/guest.py"

Compiled = Mapping[str, tuple[bytes, CodeType]]
"""Files by path: their source, and its code."""


def main(header: dict[str, Any], files: dict[str, bytes], requests: BinaryIO, replies: BinaryIO) -> None:
    """Compiles the files, waits for the first frame of a job, and runs the `main` of its `guest.py`."""
    compiled = {path: (source, _code(path, source)) for path, source in _below(files)}
    size = requests.read(4)
    if len(size) < 4:
        return
    body = requests.read(int.from_bytes(size, "big"))
    at = 4 + int.from_bytes(body[:4], "big")
    header, files = json.loads(body[4:at]), {}
    for name, length in zip(header["files"], header["blobs"], strict=False):
        files[name] = body[at : at + length]
        at += length
    del body
    source, code = compiled.get(_GUEST, (b"", None))
    scope: dict[str, Any] = {"__name__": "p2p.jobs.guest"}
    exec(code if code and source == files[_GUEST] else _code(_GUEST, files[_GUEST]), scope)
    scope["COMPILED"] = compiled
    scope["main"](header, files, requests, replies)


def _below(files: Mapping[str, bytes]) -> list[tuple[str, bytes]]:
    return [(path.removeprefix(FOLDER), source) for path, source in files.items() if path.startswith(FOLDER)]


def _code(path: str, source: bytes) -> CodeType:
    code: CodeType = compile(source, path, "exec", dont_inherit=True)
    return code
