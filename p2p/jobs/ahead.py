"""Loads the job API in a guest's process before there is a guest, so that every guest has it loaded.

The frame that the bootstrap reads first has this file in the place of `guest.py`, and the API's files beside it, below
`FOLDER`. Then the process is parked. The next frame is that of a job, and is started as the bootstrap would start it.
A job runs the API of its own bundle: if that is another one, what was loaded here is forgotten.
"""

import gc
import importlib
import json
import sys
from typing import Any, BinaryIO

FOLDER = "ahead/"
_GUEST = "p2p/jobs/guest.py"
_LOADED = ("p2p.jobs.frames", "p2p.jobs.session")
"""The modules with which everything comes that a guest imports to load a job."""


def main(header: dict[str, Any], files: dict[str, bytes], requests: BinaryIO, replies: BinaryIO) -> None:
    """Loads the API, waits for the first frame of a job, and runs the `main` of its `guest.py`."""
    api = {path.removeprefix(FOLDER): source for path, source in files.items() if path.startswith(FOLDER)}
    scope = _run(api[_GUEST])
    importer = scope["Importer"](api, "")
    sys.meta_path.insert(0, importer)
    for name in _LOADED:
        importlib.import_module(name)
    sys.meta_path.remove(importer)
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
        scope = _run(files[_GUEST])
    scope["main"](header, files, requests, replies)


def _run(guest: bytes) -> dict[str, Any]:
    """Runs the text of `guest.py` as the bootstrap does. Returns its names."""
    scope: dict[str, Any] = {"__name__": "p2p.jobs.guest"}
    exec(compile(guest, _GUEST, "exec", dont_inherit=True), scope)
    return scope
