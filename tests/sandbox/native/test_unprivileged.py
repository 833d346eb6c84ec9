"""All other tests of this folder once more, as a user who is not root and has no rights of its own on this machine."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.support.clusters.native import needs_bubblewrap

UID = 760_100
HERE = Path(__file__).parent


@needs_bubblewrap
@pytest.mark.skipif(os.geteuid() != 0, reason="the other tests have run as no root already")
def test_all_holds_for_a_peer_that_is_not_root() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        os.chown(folder, UID, UID)
        pytest_command = [sys.executable, "-m", "pytest", "-x", "-q", "-n", "0", "-p", "no:cacheprovider"]
        pytest_command += [f"--basetemp={folder}/tests", "--ignore", __file__, str(HERE)]
        ran = subprocess.run(
            [sys.executable, "-m", "tests.support.clusters.unprivileged", str(UID), *pytest_command],
            env={**os.environ, "HOME": folder, "PYTHONDONTWRITEBYTECODE": "1"},
            check=False,
            capture_output=True,
            text=True,
        )
    assert ran.returncode == 0, ran.stdout + ran.stderr
