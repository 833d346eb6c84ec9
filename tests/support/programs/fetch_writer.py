"""A fetch in a process of its own, to be killed: `python -m tests.support.programs.fetch_writer HOME OUT SEED`.

Prints `have N` (a bitmap) for the chunks that it has at its start, `write N` before each chunk, `wrote N` once the
chunk is committed, and `done` when all is in place. A second thread settles files at the same time, so that a kill can
hit that as well.
"""

import random
import sys
import threading
from pathlib import Path

from p2p.core.shares import bitmap
from p2p.store.database import Database
from p2p.store.fetches import Fetches
from tests.support.small_shares import CHUNK, Share, noise, settle

SETTLE_EVERY = 5


def share_of(seed: int) -> Share:
    """A share with small files, equal files, and files of several chunks."""
    files: dict[str, bytes | None] = {f"small/{n:02}": noise(seed + n, 50 + n) for n in range(30)}
    files |= {f"big/{n}": noise(seed + 100 + n, (n + 2) * CHUNK + n) for n in range(4)}
    files |= {"big/copy": files["big/1"], "small/copy": files["small/05"], "empty": b"", "nothing": None}
    return Share(files, executable=frozenset({"small/03", "big/copy"}))


def main() -> None:
    home, out, seed = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    share = share_of(seed)
    database = Database(home)
    target = share.open(Fetches(database, home), out)
    print("have", target.record.have, flush=True)
    missing = list(bitmap.members(target.wanted & ~target.record.have))
    random.Random(seed).shuffle(missing)
    settling: threading.Thread | None = None
    for number, chunk in enumerate(missing):
        print("write", chunk, flush=True)
        share.write(target, chunk)
        print("wrote", chunk, flush=True)
        if number % SETTLE_EVERY == SETTLE_EVERY - 1:
            if settling is not None:
                settling.join()
            settling = threading.Thread(target=settle, args=(target,))
            settling.start()
    if settling is not None:
        settling.join()
    settle(target)
    print("done", flush=True)
    target.close()
    database.close()


if __name__ == "__main__":
    main()
