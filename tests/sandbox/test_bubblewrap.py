"""The wall around a worker where there is no Landlock: what is left of the machine to whoever runs behind it."""

import os
import re
import subprocess
import sys

import pytest

from p2p.sandbox.isolation import bubblewrapped
from tests.support.clusters.native import bubblewrap, needs_bubblewrap
from tests.support.clusters.probes import WRITABLE

WORKER = f"""
from p2p.sandbox import isolation
isolation.landlock_version = lambda: 0
isolation.raise_around_worker()
OWN_TOO = False
{WRITABLE}
import resource
resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
try:
    os.fork()
    print("forked")
except OSError:
    pass
"""
BEHIND = """
import subprocess, sys
from p2p.sandbox.isolation import bubblewrapped
subprocess.run(bubblewrapped(sys.argv[1], [sys.executable, "-c", sys.argv[2]], []), check=True)
"""
OF_ITS_NAMESPACES = re.compile(
    r"/proc/1/|/proc/sys/fs/mqueue/|/proc/sys/kernel/(auto_msgmni|msg|sem|shm|ns_last_pid|pid_max)"
)
FOR_EVERYBODY = re.compile(r"/proc/pressure/")


@needs_bubblewrap
@pytest.mark.parametrize("user", ["root", "nobody"])
def test_nothing_of_the_machine_can_be_written_behind_it(user: str) -> None:
    command = bubblewrapped(bubblewrap(), [sys.executable, "-c", WORKER], [])
    if user == "root" and os.geteuid():
        pytest.skip("needs root")
    if user == "nobody" and not os.geteuid():
        unprivileged = [sys.executable, "-m", "tests.support.clusters.unprivileged", "65534"]
        command = [*unprivileged, sys.executable, "-c", BEHIND, bubblewrap(), WORKER]
    ran = subprocess.run(command, check=False, capture_output=True, text=True)
    found = [path for path in ran.stdout.splitlines() if not OF_ITS_NAMESPACES.match(path)]
    assert [path for path in found if not FOR_EVERYBODY.match(path)] == ["tried"], ran.stderr
