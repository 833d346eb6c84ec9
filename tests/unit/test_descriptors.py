"""The limit of open descriptors is raised as far as the system allows, in a process of its own."""

import subprocess
import sys

import pytest

TOLD = """\
import resource
from p2p import descriptors
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))
print(descriptors.allow({wanted}), *resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.mark.parametrize(
    ("soft", "hard", "wanted", "expected"),
    [(64, 128, 100, "100 100 128"), (64, 128, 1000, "128 128 128"), (64, 128, 20, "64 64 128")],
    ids=["as wanted", "as far as allowed", "never lower"],
)
def test_the_limit_is_raised(soft: int, hard: int, wanted: int, expected: str) -> None:
    code = TOLD.format(soft=soft, hard=hard, wanted=wanted)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == expected.split()
