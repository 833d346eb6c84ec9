"""Random numbers follow from a seed that the user can give, and are the same with `--local` and at volunteers."""

import json
from pathlib import Path
from typing import Any

import pytest

from p2p.commandline.app import app
from p2p.compute.bundles import Description
from p2p.compute.owner import setup
from p2p.jobs import local
from p2p.jobs.chance import drawn
from tests.support.guest_process import carry_out
from tests.support.local_jobs import HEAD

DRAWS = """
import random
def job(inputs):
    units = inputs.range(40).map(lambda x: random.random()).sum()
    own = inputs.range(40).map(lambda x: rng().random()).sum()
    return [units, own, inputs.range(40).sample(0.5).collect(), rng().random()]
"""
SEEDED = DRAWS.replace("import random\n", "import random\nrandom.seed(42)\n")


def made(text: str, seed: int, *, is_drawn: bool) -> Any:
    files = {"job.py": (HEAD + text).encode()}
    return json.loads(local.run(files, [], {}, save=lambda *_: None, seed=seed, is_drawn=is_drawn).json)


def at_volunteers(text: str, seed: int | None) -> Any:
    return carry_out({"job.py": HEAD + text}, partitions=8, seed=seed)[0]["value"]


def test_a_given_seed_draws_the_same_with_local_and_in_guests() -> None:
    assert made(DRAWS, 7, is_drawn=False) == at_volunteers(DRAWS, 7)
    assert made(DRAWS, 7, is_drawn=False) != made(DRAWS, 8, is_drawn=False)


def test_the_drawn_seed_that_is_told_draws_the_same_again() -> None:
    assert at_volunteers(DRAWS, None) == made(DRAWS, drawn("ab" * 32), is_drawn=False)


def test_a_seed_at_module_level_is_the_seed_of_every_run() -> None:
    """It had no effect in units. One given with `--seed` goes before it."""
    assert made(SEEDED, 7, is_drawn=True) == made(SEEDED, 8, is_drawn=True) == at_volunteers(SEEDED, None)
    assert made(SEEDED, 7, is_drawn=True) != made(SEEDED.replace("42", "43"), 7, is_drawn=True)
    assert made(SEEDED, 7, is_drawn=False) == made(DRAWS, 7, is_drawn=False)


def test_numbers_drawn_at_module_level_follow_from_the_seed_too() -> None:
    text = "import random\nk = random.random()\ndef job(inputs):\n    return [k, rng().random()]\n"
    assert made(text, 7, is_drawn=True) == made(text, 7, is_drawn=True) != made(text, 8, is_drawn=True)


@pytest.mark.parametrize("more", [[], ["--partitions", "5"]])
def test_the_command_tells_the_seed_that_it_drew(
    more: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = tmp_path / "job.py"
    job.write_text(HEAD + DRAWS)
    run = ["--home", str(tmp_path / "home"), "run", str(job), "--local", "--json", *more]

    def ran(*seed: str) -> tuple[str, str]:
        app([*run, *seed], standalone_mode=False)
        told = capsys.readouterr()
        return json.loads(told.out)["text"], told.err

    first, told = ran()
    seed = told.split("seed ")[1].split(":")[0]
    assert " ".join(["--seed", seed, *more]) + "` draws the same random numbers again" in told
    again, told = ran("--seed", seed)
    assert again == first
    assert "draws the same" not in told


def test_a_drawn_seed_of_volunteers_says_how_inputs_were_cut() -> None:
    assert "--seed 5 --partitions 9`" in setup._drawn(5, 9, 24)
    assert "for 8 cores, and this run's are for 24" in setup._drawn(5, 0, 24)
    assert "draws the same" in setup._drawn(5, 0, 8)
    assert "cores" not in setup._drawn(5, 0, 8)


def test_the_randomness_of_a_guests_system_follows_from_a_given_seed() -> None:
    one, other = (Description({}, 1, 1, seed=seed) for seed in (1, 2))
    assert one.chance(b"a" * 32) == one.chance(b"b" * 32) != other.chance(b"a" * 32)
    assert Description({}, 1, 1).chance(b"a" * 32) == b"a" * 32
