"""kill -9 at random moments of a fetch, many times over: the result is right, no committed chunk is fetched twice."""

import random
import signal
import time
from pathlib import Path

from tests.support.processes import Peer, chunks_held, make_file, tree

MIB = 1024 * 1024
CHUNK = 256 * 1024
KILLS = 8


def test_killed_again_and_again(origin: Peer, other: Peer, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    make_file(folder / "large.bin", 24 * MIB)
    for number in range(40):
        make_file(folder / "small" / f"{number}.bin", 3000 + number, seed=number)
    small = sum(3000 + number for number in range(40))
    moments = random.Random(5)
    held = [0]
    with origin.sharing(folder) as link:
        for _ in range(KILLS):
            with other.start("get", link, "--out", "got", "--limit", "4MiB") as getting:
                # Somewhere between the first import and the middle of the transfer; where exactly is the point.
                time.sleep(moments.uniform(0.1, 0.9))
                getting.end(signal.SIGKILL)
            held.append(chunks_held(other))
        answer = other.run("get", link, "--out", "got", "--json").json()
    assert held == sorted(held), "what was committed stays committed"
    # Of the chunks held some are small files; the others are 256 KiB each.
    missing = 24 * MIB // CHUNK + 40 - held[-1]
    assert answer["received"] <= missing * CHUNK
    assert answer["received"] >= 24 * MIB + small - held[-1] * CHUNK
    assert tree(tmp_path / "got" / "data") == tree(folder)
