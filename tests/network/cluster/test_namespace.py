"""The helper in a sandbox's network: for peers without privileges, with bad words, and to its end."""

import os
import shutil
import socket
import stat
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from p2p.cluster.network import namespace_helper
from p2p.cluster.network.namespace import Namespace, open_namespace
from p2p.errors import SandboxFailed
from tests.support.clusters.boxes import NOBODY, PYTHON, boxes

IDLE_BYTES = 15 << 20
INTERFACES = "import socket; print([name for _, name in socket.if_nameindex()])"


@contextmanager
def asked(
    pid: int, device: str, user: int | None = None, script: str = namespace_helper.__file__
) -> Iterator[socket.socket]:
    """A helper, as whoever asks it sees it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    python = PYTHON if user is not None else sys.executable
    command = [python, "-I", "-S", script, str(pid), str(theirs.fileno()), "10.77.0.1", "65520", device]
    with subprocess.Popen(
        command, pass_fds=[theirs.fileno()], user=user, group=user, extra_groups=None if user is None else []
    ) as helper:
        theirs.close()
        ours.settimeout(20)
        with ours:
            yield ours
        assert helper.wait(10) == 0


def test_a_peer_without_privileges_makes_the_device(tmp_path: Path) -> None:
    if os.geteuid():
        pytest.skip("this user has none anyway: other tests show it")
    folder = Path("/dev/shm") / f"shoal-test-{os.getpid()}"
    folder.mkdir(mode=0o755)
    try:
        device, script = folder / "tun", folder / "helper.py"
        try:
            os.mknod(device, stat.S_IFCHR | 0o666, os.makedev(10, 200))
            device.chmod(0o666)
            device.open("rb").close()
        except OSError as error:
            pytest.skip(f"no device can be made here: {error}")
        shutil.copy(namespace_helper.__file__, script)
        with boxes(1, NOBODY) as [box], asked(box.pid, str(device), NOBODY, str(script)) as helper:
            said, handles, _, _ = socket.recv_fds(helper, 100, 1)
            assert said[:1] == b"t", said
            os.close(handles[0])
    finally:
        shutil.rmtree(folder)


async def test_the_helper_makes_sockets_and_ends_with_its_peer() -> None:
    with boxes(1) as [box]:
        async with open_namespace(box.pid, 0) as namespace:
            [helper] = [one for one in psutil.Process().children() if namespace_helper.__file__ in one.cmdline()]
            assert helper.memory_info().rss < IDLE_BYTES
            assert "shoal0" in await box.python(INTERFACES)
            with pytest.raises(ConnectionRefusedError):
                await namespace.connect("10.77.0.1", 5300)
            assert await namespace.end_connections(socket.inet_aton("10.77.0.2")) == 0
        assert not helper.is_running()
        assert "shoal0" not in await box.python(INTERFACES)


async def test_a_request_that_is_given_up_leaves_no_answer_to_the_next() -> None:
    with boxes(1) as [box]:
        async with open_namespace(box.pid, 0) as namespace:
            for _ in range(3):
                with trio.move_on_after(0):
                    await namespace.end_connections(socket.inet_aton("10.77.0.2"))
                with pytest.raises(ConnectionRefusedError):
                    await namespace.connect("10.77.0.1", 5300)


def test_words_that_are_no_request_are_refused() -> None:
    with boxes(1) as [box], asked(box.pid, "/dev/net/tun") as helper:
        said, handles, _, _ = socket.recv_fds(helper, 100, 1)
        os.close(handles[0])
        assert said[:1] == b"t"
        for request in (b"x", b"d", b"d1234567", b"s" * 60):
            helper.send(request)
            assert helper.recv(100)[:1] == b"e"
        helper.send(b"d" + socket.inet_aton("10.77.0.9"))
        assert helper.recv(100) == b"d" + struct.pack(">I", 0)


@pytest.mark.parametrize(
    ("pid", "device", "why"), [(2**22 - 1, "/dev/net/tun", "No such file"), (None, "/dev/null", "ioctl")]
)
async def test_what_cannot_be_is_told(pid: int | None, device: str, why: str) -> None:
    with boxes(1) as [box], pytest.raises(SandboxFailed, match=why):
        async with open_namespace(pid or box.pid, 0, device):
            pass


async def test_who_waits_for_the_helper_is_told_at_once_when_the_network_is_closed(autojump_clock: MockClock) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        ours.setblocking(False)
        namespace = Namespace(ours)
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                with pytest.raises(SandboxFailed, match="has ended"):
                    await namespace.end_connections(bytes(4))

            nursery.start_soon(ask)
            await wait_all_tasks_blocked()
            namespace.close()
    assert trio.current_time() == 0
