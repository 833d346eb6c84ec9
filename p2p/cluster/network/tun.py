"""Packets in and out of a TUN device, whose descriptor does not block."""

import os
from collections.abc import Iterator

import trio

from p2p import causes
from p2p.core.cluster.packets import MAX_PACKET_BYTES, Packet
from p2p.errors import SandboxFailed

TURN_PACKETS = 32
"""How many packets are handled before other tasks have their turns."""


class Tun:
    """One device. Whoever has made it closes its descriptor."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.packets_out = self.packets_in = 0
        """How many packets programs have sent, and how many were given to them."""
        self.refused = 0
        """How many packets the kernel did not take."""

    def shut(self) -> None:
        """Loses what is written from now on: the descriptor is about to be closed, and may be another's then."""
        self._descriptor = -1

    async def wait(self) -> None:
        """Waits until there are packets, which is a turn for other tasks even if there are."""
        await trio.lowlevel.wait_readable(self._descriptor)

    def packets(self) -> Iterator[bytes]:
        """The packets that are there, at most TURN_PACKETS. Raises SandboxFailed if the device is no more."""
        # `os.read` reads into the bytes that it returns: nothing is copied.
        for _ in range(TURN_PACKETS):
            try:
                packet = os.read(self._descriptor, MAX_PACKET_BYTES)
            except BlockingIOError:
                return
            except OSError as error:
                raise SandboxFailed(f"The sandbox has lost its network: {causes.what(error)}.") from error
            self.packets_out += 1
            yield packet

    def write(self, packet: Packet) -> None:
        """Gives a packet to the kernel. One that it does not take is lost, as packets may be."""
        try:
            os.write(self._descriptor, packet)
            self.packets_in += 1
        except OSError:
            self.refused += 1
