"""Sandboxes as members of a cluster have them: namespaces made by bubblewrap, without a network."""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import trio

from tests.support.clusters.native import MUST_RUN

NOBODY = 65534
PYTHON = "/usr/bin/python3"
_HAS_TUN, _NO_TUN = os.access("/dev/net/tun", os.R_OK | os.W_OK), "needs /dev/net/tun, for this user"
needs_tun = pytest.mark.skipif(not _HAS_TUN and not MUST_RUN, reason=_NO_TUN)
_SOCKET = "socket"
_WALLS = ("--unshare-all", "--unshare-user", "--disable-userns", "--die-with-parent", "--new-session")
_FILES = ("--ro-bind", "/usr", "/usr", "--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64")
_USER = ("--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp", "--uid", "1000", "--gid", "1000", "--cap-drop", "ALL")
_AGENT = f"""
import json, os, signal, socket, subprocess
server = socket.socket(socket.AF_UNIX)
server.bind("/box/{_SOCKET}")
server.listen()
print("there", flush=True)
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
while True:
    asked, _ = server.accept()
    if os.fork() == 0:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        with asked, asked.makefile("r") as said:
            done = subprocess.run(["{PYTHON}", "-I", "-c", *json.load(said)], capture_output=True, text=True)
            asked.sendall(json.dumps([done.returncode, done.stdout, done.stderr]).encode())
        os._exit(0)
    asked.close()
"""


class Box:
    """One sandbox, in which nothing runs but what a test starts."""

    def __init__(self, pid: int, folder: Path) -> None:
        self.pid = pid
        """Of a process in it, as seen from outside."""
        self.folder = folder
        """/box, as seen from outside."""

    async def python(self, code: str, *arguments: str) -> str:
        """Runs Python in the box. Returns what it prints; fails the test if it fails."""
        async with await trio.open_unix_socket(str(self.folder / _SOCKET)) as asking:
            await asking.send_all(json.dumps([code, *arguments]).encode())
            await asking.send_eof()
            answer = b""
            async for piece in asking:
                answer += piece
        status, said, errors = json.loads(answer)
        assert status == 0, errors
        return str(said).strip()


@contextmanager
def boxes(count: int, uid: int | None = None) -> Iterator[list[Box]]:
    """Makes sandboxes that belong to a user. Skips the test where there can be none."""
    if not MUST_RUN and (shutil.which("bwrap") is None or not Path(PYTHON).exists()):
        pytest.skip("needs bubblewrap and python3 (Debian: bubblewrap, python3)")
    if not MUST_RUN and not _HAS_TUN:
        pytest.skip(_NO_TUN)
    with ExitStack() as stack:
        yield [stack.enter_context(_box(uid)) for _ in range(count)]


@contextmanager
def _box(uid: int | None) -> Iterator[Box]:
    with tempfile.TemporaryDirectory(prefix="box-") as name:
        if uid is not None:
            os.chown(name, uid, uid)
        with _started(name, uid) as (process, info):
            assert process.stdout is not None
            assert process.stderr is not None
            try:
                if process.stdout.readline() != b"there\n":
                    assert not MUST_RUN, process.stderr.read()
                    pytest.skip(f"no sandbox can be made: {process.stderr.read().decode().strip()}")
                yield Box(json.loads(info)["child-pid"], Path(name))
            finally:
                process.kill()


@contextmanager
def _started(folder: str, uid: int | None) -> Iterator[tuple[subprocess.Popen[bytes], bytes]]:
    reading, writing = os.pipe()
    command = ["bwrap", *_WALLS, *_FILES, *_USER, "--bind", folder, "/box", "--info-fd", str(writing)]
    with subprocess.Popen(
        [*command, "--", PYTHON, "-I", "-c", _AGENT],
        pass_fds=(writing,),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        user=uid,
        group=uid,
        extra_groups=None if uid is None else [],
    ) as process:
        os.close(writing)
        with open(reading, "rb") as info:
            said = info.read()
        yield process, said
