"""kill -9 in a job, at random moments: its result is right, at once or when it is resumed.

Here the owner and a worker; `scripts.bench.kills` kills all who take part, as often as wanted.
"""

import random
from pathlib import Path

from tests.support.fleet import Fleet


def test_killed_again_and_again(tmp_path: Path) -> None:
    chance = random.Random(11)
    with Fleet(tmp_path) as fleet:
        for victim in ("owner", "worker"):
            fleet.round(victim, chance)
