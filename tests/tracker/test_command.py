"""`shoal tracker` as a real process."""

import json
import signal
import urllib.request
from pathlib import Path

import httpx2
import pytest

from p2p.identity import Identity
from p2p.wire.tracker import Announce, sign_announce
from tests.support.announces import listing
from tests.support.processes import Peer


@pytest.fixture
def peer(tmp_path: Path) -> Peer:
    return Peer(tmp_path / "home")


def get(url: str) -> str:
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=10) as answer:
        return str(answer.read().decode())


def test_it_says_where_it_is_and_keeps_what_it_was_told(peer: Peer) -> None:
    me = Identity.generate()
    with peer.start("tracker", "--listen", "127.0.0.1:0") as running:
        word, url = running.line().split(" ")
        assert word == "ready"
        announce = Announce(url, "test-system", 1, reset=True, add=(listing(1, "kept"),))
        body, headers = sign_announce(announce, me)
        answer = httpx2.post(f"{url}/api/v1/announce", content=body, headers=headers, trust_env=False)
        assert answer.status_code == 200, answer.text
        assert json.loads(get(f"{url}/api/v1/search?q=kept"))["total"] == 1
        assert "<html" in get(url)
        outcome = running.end(signal.SIGTERM)
    assert (outcome.code, outcome.err) == (0, "")
    assert (peer.home / "tracker.db").exists()
    with peer.start("tracker", "--listen", "127.0.0.1:0") as running:
        url = running.line().split(" ")[1]
        assert json.loads(get(f"{url}/api/v1/search?q=kept"))["results"][0]["name"] == "kept"
        running.end(signal.SIGKILL)
    with peer.start("tracker", "--listen", "127.0.0.1:0", "--url", "https://tracker.example") as running:
        assert running.line() == "ready https://tracker.example"
        assert running.end().code == 0


def test_it_stops_soon_whoever_still_listens(peer: Peer) -> None:
    with peer.start("tracker", "--listen", "127.0.0.1:0") as running:
        url = running.line().split(" ")[1]
        with (
            httpx2.Client(trust_env=False) as client,
            client.stream("GET", f"{url}/api/v1/events") as events,
        ):
            lines = events.iter_lines()
            assert next(lines) == "event: statistics"
            running.send(signal.SIGTERM)
            rest = list(lines)  # to the proper end of the answer
            assert rest[0].startswith("data: ")
        assert running.wait().code == 0


def test_what_cannot_be_is_said_in_words(peer: Peer, tmp_path: Path) -> None:
    assert "HOST:PORT" in peer.run("tracker", "--listen", "nonsense", code=2).err
    assert "URL" in peer.run("tracker", "--listen", "127.0.0.1:0", "--url", "nonsense", code=2).err
    folder = peer.run("tracker", "--listen", "127.0.0.1:0", "--db", tmp_path, code=1).err
    assert str(tmp_path) in folder
    with peer.start("tracker", "--listen", "127.0.0.1:0") as running:
        address = running.line().removeprefix("ready http://")
        taken = peer.run("tracker", "--listen", "127.0.0.1:0", code=1).err
        assert "Another tracker" in taken
        again = peer.run("tracker", "--listen", address, "--db", tmp_path / "other.db", code=2).err
        assert "Cannot listen" in again
        running.end()
