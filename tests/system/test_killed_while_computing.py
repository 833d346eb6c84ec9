"""kill -9 of whoever takes part in a job, at random moments: its result is right, at once or when it is resumed."""

import random
from pathlib import Path

from tests.support.fleet import VICTIMS, Fleet


def test_killed_again_and_again(tmp_path: Path) -> None:
    chance = random.Random(11)
    with Fleet(tmp_path) as fleet:
        for victim in chance.sample(VICTIMS, len(VICTIMS)):
            fleet.round(victim, chance)
