"""What a guest runs before it is given a job: the text for the interpreter's `-c`.

It reads one frame, and starts the `p2p/jobs/guest.py` that the frame contains. So a guest that waits for a job has not
run anybody's code yet, and the code that runs jobs travels with each job. What every job needs is imported here, in
advance.
"""

GUEST = "p2p/jobs/guest.py"

BOOTSTRAP = f"""\
import ast, binascii, hashlib, heapq, importlib.util, io, json, linecache, marshal, os, random, reprlib, sys, traceback
import typing

requests = sys.stdin.buffer
try:
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
except (AttributeError, OSError):  # WASI cannot duplicate descriptors
    replies = sys.stdout.buffer
sys.stdout, sys.stdin = sys.stderr, io.StringIO()
sys.path[:] = [folder for folder in sys.path if folder]

size = requests.read(4)
if len(size) == 4:
    body = requests.read(int.from_bytes(size, "big"))
    at = 4 + int.from_bytes(body[:4], "big")
    header, files = json.loads(body[4:at]), {{}}
    for name, length in zip(header["files"], header["blobs"]):
        files[name] = body[at : at + length]
        at += length
    del body
    scope = {{"__name__": "p2p.jobs.guest"}}
    exec(compile(files[{GUEST!r}], {GUEST!r}, "exec"), scope)
    scope["main"](header, files, requests, replies)
"""
