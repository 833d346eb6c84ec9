"""kill -9 at any moment: what is believed afterwards is right, and nothing committed is written again."""

import os
import random
from pathlib import Path

from p2p.core.shares import bitmap
from p2p.ids import short
from p2p.store.database import Database
from p2p.store.fetches import Fetches
from tests.support.programs import said_until_killed
from tests.support.programs.fetch_writer import share_of
from tests.support.small_shares import Share

ROUNDS = 20


class Killed:
    """What a writer said until it was killed."""

    def __init__(self, home: Path, out: Path, seed: int, lines: int) -> None:
        self.have = 0
        self.begun: set[int] = set()
        self.committed: set[int] = set()
        self.done = False
        said, code = said_until_killed("fetch_writer", home, out, seed, lines=lines)
        for line in said:
            self._said(line)
        assert code in {-9, 0}
        assert self.done or code == -9

    def _said(self, line: str) -> None:
        word, *value = line.split()
        match word:
            case "have":
                self.have = int(value[0])
            case "write":
                self.begun.add(int(value[0]))
            case "wrote":
                self.committed.add(int(value[0]))
            case "done":
                self.done = True


def believed(share: Share, home: Path, out: Path) -> set[int]:
    """The chunks that the record claims, after looking at the files: each must be right on disk."""
    database = Database(home)
    target = share.open(Fetches(database, home), out)
    have = target.record.have
    for chunk in bitmap.members(have):
        place = share.layout.place(chunk)
        with target.reading(place.entry) as (descriptor, _):
            assert os.pread(descriptor, place.size, place.offset) == share.chunk(chunk), f"chunk {chunk} is wrong"
    target.close()
    database.close()
    return set(bitmap.members(have))


def names_tell_the_truth(share: Share, out: Path) -> None:
    """A name without .part is a whole file."""
    mark = f".{short(share.manifest.share_id)}.part"
    for path in (out / "share").rglob("*"):
        if path.is_file() and not path.name.endswith(mark):
            assert path.read_bytes() == share.files[path.relative_to(out / "share").as_posix()]


def test_kill_at_any_moment(home: Path, tmp_path: Path) -> None:
    chance = random.Random(20)
    seed, finished = 0, 0
    committed: set[int] = set()
    for _ in range(ROUNDS):
        share, out = share_of(seed), tmp_path / f"out{seed}"
        killed = Killed(home, out, seed, chance.randrange(40))
        assert killed.begun.isdisjoint(committed), "a committed chunk was written again"
        if killed.have or killed.begun:
            assert committed <= set(bitmap.members(killed.have))
        names_tell_the_truth(share, out)
        committed |= killed.committed
        now = believed(share, home, out)
        assert committed <= now
        # A copy's own chunks count once it is in place; else nothing comes from nowhere.
        wanted = {
            chunk for chunk in now if share.path_of(share.layout.place(chunk).entry) not in {"big/copy", "small/copy"}
        }
        assert wanted <= committed | killed.begun
        committed = now
        if killed.done:
            assert share.in_place(out)
            finished += 1
            seed, committed = seed + 1000, set()
    assert finished >= 1
