"""A listener on the local network, in a process of its own: `python lan_listener.py NETWORK`.

Prints `at HOST...` or `at nothing` whenever its segments have changed, and `KIND PEER HOST PORT` when it hears a peer
answer or arrive.
"""

import os
import random
import sys

import trio

from p2p import ids
from p2p.identity import Identity
from p2p.net.lan import Lan
from p2p.wire.address import Address
from p2p.wire.beacon import START_BYTES, Beacon, BeaconCodec

EVERY_S = 0.02


def heard(beacon: Beacon, host: str) -> bool:
    print(beacon.kind.name, ids.to_text(beacon.peer), host, beacon.port, flush=True)
    return True


async def main(network: str) -> None:
    codec = BeaconCodec(Identity.generate(), network, os.urandom(START_BYTES))
    everywhere = [Address("0.0.0.0", 7), Address("::", 7)]
    lan = Lan(codec, everywhere, heard, random.Random(), interfaces_every_s=EVERY_S)
    before = None
    async with trio.open_nursery() as nursery:
        await nursery.start(lan.run)
        while True:
            now = " ".join(segment.host for segment in lan.segments) or "nothing"
            if now != before:
                print("at", now, flush=True)
            before = now
            await trio.sleep(EVERY_S)


if __name__ == "__main__":
    trio.run(main, sys.argv[1])
