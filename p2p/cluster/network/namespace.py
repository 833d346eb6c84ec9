"""The network namespace of a sandbox, as the peer reaches into it: by a helper process that has joined it."""

import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from p2p.core.cluster.packets import address_of
from p2p.errors import SandboxFailed

MTU_BYTES = 65520
"""No path has another: packets travel in frames of a stream. A segment of TCP is as large as offloading makes it."""
TUN_DEVICE = "/dev/net/tun"
START_TIMEOUT_S = 20.0
ANSWER_TIMEOUT_S = 5.0
_HELPER = sys.executable, "-I", "-S", str(Path(__file__).with_name("namespace_helper.py"))
_MAX_ANSWER_BYTES = 512


class Namespace:
    """The network of one sandbox."""

    def __init__(self, helper: socket.socket) -> None:
        self._helper = helper
        self._asking = trio.Lock()
        self.tun = -1
        """The descriptor of the TUN device."""
        self.ends_connections = False
        """Whether this kernel ends connections on request."""

    async def start(self) -> None:
        """Waits until the helper has made the device. Raises SandboxFailed."""
        said, self.tun = await self._hear(b"t", START_TIMEOUT_S)
        self.ends_connections = said != b"\0"

    async def connect(self, address: str, port: int) -> trio.SocketStream:
        """Connects from within that network. Raises OSError, SandboxFailed."""
        _, handle = await self._ask(b"s", b"s")
        made = trio.socket.from_stdlib_socket(socket.socket(fileno=handle))
        try:
            await made.connect((address, port))
        except BaseException:
            made.close()
            raise
        return trio.SocketStream(made)

    async def end_connections(self, address: bytes) -> int:
        """Ends the TCP connections that programs of the sandbox have with an address. Returns how many. Raises
        SandboxFailed.
        """
        said, _ = await self._ask(b"d" + address, b"d")
        return int.from_bytes(said, "big")

    def close(self) -> None:
        """Ends the helper. Whoever waits for its answer is told so."""
        if self.tun != -1:
            os.close(self.tun)
            self.tun = -1
        trio.lowlevel.notify_closing(self._helper)
        self._helper.close()

    async def _ask(self, request: bytes, kind: bytes) -> tuple[bytes, int]:
        # Nobody else would know that the answer to a request that was given up is on its way.
        with trio.CancelScope(shield=True):
            async with self._asking:
                try:
                    self._helper.send(request)
                except OSError as error:
                    raise SandboxFailed("The helper in the sandbox's network has ended.") from error
                answer = await self._hear(kind, ANSWER_TIMEOUT_S)
        return answer

    async def _hear(self, kind: bytes, seconds: float) -> tuple[bytes, int]:
        try:
            with trio.move_on_after(seconds) as patience:
                await trio.lowlevel.wait_readable(self._helper)
        except trio.ClosedResourceError as error:
            raise SandboxFailed("The sandbox's network has ended.") from error
        if patience.cancelled_caught:
            self._helper.close()
            raise SandboxFailed(f"The helper in the sandbox's network did not answer within {seconds:.0f} seconds.")
        try:
            said, handles, _, _ = socket.recv_fds(self._helper, _MAX_ANSWER_BYTES, 1, socket.MSG_CMSG_CLOEXEC)
        except OSError as error:
            raise SandboxFailed("The helper in the sandbox's network has ended.") from error
        handle = handles[0] if handles else -1
        if said[:1] == kind:
            return said[1:], handle
        why = said[1:].decode(errors="replace") or "it has ended"
        raise SandboxFailed(f"The sandbox's network failed: {why}")


@asynccontextmanager
async def open_namespace(pid: int, index: int, device: str = TUN_DEVICE) -> AsyncIterator[Namespace]:
    """Makes a TUN device with the address of member `index` in the network of a process. Raises SandboxFailed.

    The device is gone when this ends, and so is the helper.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        ours.setblocking(False)
        with theirs:
            address = socket.inet_ntoa(address_of(index))
            helper = await trio.lowlevel.open_process(
                [*_HELPER, str(pid), str(theirs.fileno()), address, str(MTU_BYTES), device],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env={},
            )
        namespace = Namespace(ours)
        try:
            await namespace.start()
            yield namespace
        finally:
            namespace.close()
            with trio.CancelScope(shield=True):
                with trio.move_on_after(ANSWER_TIMEOUT_S):
                    await helper.wait()
                if helper.returncode is None:
                    helper.kill()
                    await helper.wait()
