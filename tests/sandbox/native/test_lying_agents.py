"""The agent's interpreter is a stranger's: whatever runs in its place ends its own sandbox at most."""

import os
from pathlib import Path

import pytest
import trio
import trio.testing

from p2p.errors import SandboxFailed
from p2p.sandbox.native import programs, sandbox
from p2p.sandbox.native.sandbox import open_native
from p2p.sandbox.native.spec import Account
from tests.support.clusters.native import needs_bubblewrap, spec
from tests.support.constants import Shorten

pytestmark = needs_bubblewrap
READY = """'{"ready": true}'"""


def interpreter(folder: Path, text: str) -> Path:
    """A folder with something else in the place of Python."""
    place = folder / "bin"
    place.mkdir()
    (place / "python").write_text(f"#!/bin/sh\n{text}\n")
    (place / "python").chmod(0o755)
    return place


@pytest.mark.parametrize(
    "said",
    ["nonsense", '{"ended": "x"}', '{"started": 1e400}', "[]", '{"failed": -1, "why": 5}', "\\377"],
)
async def test_an_agent_that_talks_nonsense_ends_its_sandbox(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, account: Account, said: str
) -> None:
    place = interpreter(tmp_path_factory.mktemp("liar"), f"printf {READY} >&0; printf '{said}' >&0; sleep 1000")
    liar = spec(binds=[(place, "/opt/liar")], python="/opt/liar/python")
    async with open_native(liar, tmp_path, account, idle=False) as native:
        await native.begin()
        with trio.fail_after(30):
            await native.ended.wait()
        assert native.reason == "its agent said something that no agent says"
        with pytest.raises(SandboxFailed):
            await native.start(["true"], {}, "the engine")


async def test_an_agent_that_says_nothing_is_given_up(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, account: Account, shorten: Shorten
) -> None:
    place = interpreter(tmp_path_factory.mktemp("silent"), "sleep 1000")
    silent = spec(binds=[(place, "/opt/silent")], python="/opt/silent/python")
    async with open_native(silent, tmp_path, account, idle=False) as native:
        shorten(sandbox, "_START_S", 0.2)
        with pytest.raises(SandboxFailed, match=r"does not start: it was not ready after"):
            await native.begin()


async def test_an_agent_that_starts_nothing_is_given_up(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, account: Account, shorten: Shorten
) -> None:
    place = interpreter(tmp_path_factory.mktemp("lazy"), f"printf {READY} >&0; sleep 1000")
    lazy = spec(binds=[(place, "/opt/lazy")], python="/opt/lazy/python")
    async with open_native(lazy, tmp_path, account, idle=False) as native:
        await native.begin()
        shorten(programs, "_START_S", 0.2)
        with pytest.raises(SandboxFailed, match="the agent does not answer"):
            await native.start(["true"], {}, "the engine")


HOLD = """
import array, json, socket
peer = socket.socket(fileno=0)
peer.sendall(b'{"ready": true}')
while True:
    data, _, _, _ = peer.recvmsg(1 << 17, socket.CMSG_SPACE(4))  # what was passed is never closed
    peer.sendall(json.dumps({"failed": json.loads(data)["start"], "why": "no"}).encode())
"""


async def test_an_agent_that_keeps_what_it_was_given_takes_nothing_of_the_peer(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, account: Account
) -> None:
    place = interpreter(tmp_path_factory.mktemp("holder"), "exec /usr/bin/python3 -I -S /opt/holder/hold.py")
    (place / "hold.py").write_text(HOLD)
    holder = spec(binds=[(place, "/opt/holder")], python="/opt/holder/python")
    async with open_native(holder, tmp_path, account, idle=False) as native:
        await native.begin()
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(20):
            with pytest.raises(SandboxFailed, match="cannot be started: no"):
                await native.start(["true"], {}, "the engine")
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert len(os.listdir("/proc/self/fd")) == before
