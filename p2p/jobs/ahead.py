"""Loads the job API in a guest's process before there is a guest, so that every guest has it loaded.

The frame that the bootstrap reads first has this file in the place of `guest.py`, and the API's files beside it, below
`FOLDER`. Most of the time would go into compiling them. So a guest is asked once, with this frame, for what they are
compiled to: it answers with the frame that has `CODE` as well. A process that reads that one loads the API and is
parked. The next frame is that of a job, and is started as the bootstrap would start it. A job runs the API of its own
bundle: if that is another one, what was loaded here is forgotten.
"""

import gc
import importlib
import json
import marshal
import sys
from types import CodeType
from typing import Any, BinaryIO

FOLDER = "ahead/"
CODE = "code"
"""The file of the frame that has, marshalled, the code of each file of the API, by its path."""
_GUEST = "p2p/jobs/guest.py"
_LOADED = ("p2p.jobs.frames", "p2p.jobs.session")
"""The modules with which everything comes that a guest imports to load a job."""


def main(header: dict[str, Any], files: dict[str, bytes], requests: BinaryIO, replies: BinaryIO) -> None:
    """Loads the API, waits for the first frame of a job, and runs the `main` of its `guest.py`."""
    api = {path.removeprefix(FOLDER): source for path, source in files.items() if path.startswith(FOLDER)}
    if CODE not in files:
        code = {path: compile(source, path, "exec", dont_inherit=True) for path, source in api.items()}
        _answer({**files, CODE: marshal.dumps(code)}, replies)
        return
    code = marshal.loads(files[CODE])
    scope = _run(code[_GUEST])
    importer = scope["Importer"](api, "")
    importer.code = code
    sys.meta_path.insert(0, importer)
    for name in _LOADED:
        importlib.import_module(name)
    sys.meta_path.remove(importer)
    del code, importer.code
    gc.collect()
    gc.freeze()
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
    if {path: source for path, source in files.items() if path.startswith("p2p/")} != api:
        for name in [name for name in sys.modules if name.partition(".")[0] == "p2p"]:
            del sys.modules[name]
        scope = _run(compile(files[_GUEST], _GUEST, "exec", dont_inherit=True))
    scope["main"](header, files, requests, replies)


def _answer(files: dict[str, bytes], replies: BinaryIO) -> None:
    """Answers with a frame that has these files."""
    head = json.dumps({"files": list(files), "blobs": [len(data) for data in files.values()]}).encode()
    frame = b"".join([len(head).to_bytes(4, "big"), head, *files.values()])
    replies.write(len(frame).to_bytes(4, "big") + frame)
    replies.flush()


def _run(guest: CodeType) -> dict[str, Any]:
    """Runs `guest.py` as the bootstrap does. Returns its names."""
    scope: dict[str, Any] = {"__name__": "p2p.jobs.guest"}
    exec(guest, scope)
    return scope
