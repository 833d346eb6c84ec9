"""Death within the write of a chunk itself, too short a moment for a kill from outside to meet.

The kernel kills whoever writes beyond the limit of a file's size, unless Python has it ask first. The last chunk is
written before the limit is set, so the part's length tells nobody what lacks in its middle.
"""

import resource
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from p2p.core.shares import bitmap
from p2p.store.database import Database
from p2p.store.fetches import Fetches
from tests.support.small_shares import CHUNK, Share, noise

SHARE = Share({"big": noise(1, 6 * CHUNK + 5), "small": b"small"})
LAST = 6
ROOT = Path(__file__).parents[2]


def die(home: Path, out: Path, limit: int) -> None:
    """Writes chunk after chunk until the kernel ends it."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    target = SHARE.open(Fetches(Database(home), home), out)
    SHARE.write(target, LAST)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    for chunk in range(LAST):
        SHARE.write(target, chunk)


@pytest.mark.parametrize("limit", [CHUNK, CHUNK + 1, 2 * CHUNK - 1, 3 * CHUNK])
def test_a_chunk_whose_write_was_cut_off_by_death_is_not_believed(home: Path, tmp_path: Path, limit: int) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "tests.store.test_killed_while_writing", str(home), str(out), str(limit)]
    assert subprocess.run(command, cwd=ROOT).returncode == -signal.SIGXFSZ
    with closing(Database(home)) as database, closing(SHARE.open(Fetches(database, home), out)) as target:
        assert target.record.have == bitmap.of([(0, limit // CHUNK), (LAST, 1)])
        assert LAST not in SHARE.finish(target)
    assert SHARE.in_place(out)


if __name__ == "__main__":
    die(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
