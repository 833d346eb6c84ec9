"""Measure how far a native sandbox exceeds its limits before it ends. Run from the top of the repository:

    python -m scripts.bench.overshoot            as this user; as root, as one of the users from 770000 on

Programs in sandboxes of their own take memory, or write files, as fast as they can, and say how much they have. What
the last had beyond its limit is printed: the most of all rounds.
"""

import argparse
import tempfile
from pathlib import Path

import trio

from p2p.sandbox.native.accounts import account
from p2p.sandbox.native.sandbox import open_native
from p2p.sandbox.native.spec import Limits, Spec

LIMIT = 512 << 20
MEMORY = """
import os
kept = []
while True:
    kept.append(b"x" * (4 << 20))
    os.write(1, b"%d\\n" % (len(kept) << 22))
"""
DISK = """
import os
piece, written = os.urandom(1 << 20), 0
try:
    while True:
        with open(str(written), "wb", buffering=0) as file:
            file.write(piece)
        written += len(piece)
        os.write(1, b"%d\\n" % written)
except OSError:
    pass
"""


async def reached(program: str) -> int:
    """The bytes that a program had when its sandbox ended, or when it could get no more."""
    spec = Spec("m0", (), None, "/usr/bin/python3", {}, {}, Limits(1, LIMIT, LIMIT, 100))
    last = b"0"
    with tempfile.TemporaryDirectory() as folder, account((770_000, 8)) as user:
        async with open_native(spec, Path(folder), user, idle=False) as native:
            await native.begin()
            bomb = await native.start(["python3", "-c", program], {}, "bomb")
            while piece := await bomb.output.receive_some():
                last = (last + piece)[-64:]
    return int(last.split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    for name, program in (("memory", MEMORY), ("disk", DISK)):
        beyond = max(trio.run(reached, program) - LIMIT for _ in range(rounds))
        print(f"{name}: {max(0, beyond) >> 20} MiB beyond {LIMIT >> 20}")


if __name__ == "__main__":
    main()
