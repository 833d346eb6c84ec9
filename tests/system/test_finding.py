"""Finding from the command line: over the DHT and over a real tracker, by words, by ids and by mutable links."""

import json
import os
import re
import signal
from pathlib import Path

from tests.support.processes import Outcome, Peer, make_file, running_tracker, tree, until

BARE = "magnet:?xt=urn:shoal:"


def found(peer: Peer, *words: str) -> list[dict[str, object]]:
    """The hits, once there are any."""
    hits: list[dict[str, object]] = []

    def search() -> bool:
        nonlocal hits
        hits = peer.run("search", *words, "--json").json()
        return bool(hits)

    until(search, f"something found by {words}")
    return hits


def test_over_the_dht_alone(origin: Peer, other: Peer, tmp_path: Path) -> None:
    make_file(tmp_path / "summer photos" / "beach.jpg", 300_000)
    with origin.node() as node, other.node("--join", node.address):
        share = origin.run("share", tmp_path / "summer photos", "--json").json()
        (hit,) = found(other, "SUMMER")
        assert (hit["id"], hit["name"], hit["bytes"], hit["signer"]) == (
            share["id"],
            "summer photos",
            300_000,
            node.peer,
        )
        got = other.run("get", str(hit["link"]), "--out", tmp_path / "out", "--json").json()
        assert got["received"] == 300_000
        assert tree(tmp_path / "out" / "summer photos") == tree(tmp_path / "summer photos")
        listed = other.run("browse", node.peer, "--json").json()
        assert [row["id"] for row in listed] == [share["id"]]
        assert "is this peer itself" in origin.run("browse", node.peer, code=2).err
        assert "only whole words" in other.run("search", "summ").err
        status = other.run("status", "--json").json()
        assert status["dht"]["nodes"] == 1
        assert status["dht"]["joined"]
        assert "1 node" in other.run("status").out


def test_a_mutable_link(origin: Peer, other: Peer, tmp_path: Path) -> None:
    make_file(tmp_path / "news" / "one", 300_000)
    with origin.node() as node, other.node("--join", node.address):
        link = origin.run("share", tmp_path / "news", "--as", "the news").out.strip()
        assert re.fullmatch(f"shoal:m/{node.peer}[a-z2-7]{{6}}/the,20news/p.@127.0.0.1:[0-9]+", link)
        assert origin.run("shares", "--json").json()[0]["pointers"] == [link]
        assert link in origin.run("shares").err
        assert other.run("get", link, "--out", tmp_path / "out").out.strip() == str(tmp_path / "out" / "news")
        make_file(tmp_path / "news" / "two", 1000)
        assert origin.run("share", tmp_path / "news", "--as", "the news").out.strip() == link
        got = other.run("get", link, "--out", tmp_path / "out", "--json").json()
        assert got["received"] == 1000
        assert tree(tmp_path / "out" / "news") == tree(tmp_path / "news")


def test_over_a_tracker_until_it_is_killed(origin: Peer, other: Peer, tmp_path: Path) -> None:
    make_file(tmp_path / "concert.flac", 300_000)
    with running_tracker(tmp_path / "tracker") as (url, pid):
        alone = ("--no-dht", "--no-lan", "--tracker", url)
        with origin.node(*alone) as node, other.node(*alone):
            link = origin.run("share", tmp_path / "concert.flac").out.strip()
            assert f"/t.{url.removeprefix('http://')}" in link
            (hit,) = found(other, "conc")
            assert hit["signer"] == node.peer
            bare = BARE + str(hit["id"])
            assert other.run("get", bare, "--out", tmp_path / "out").code == 0
            (state,) = origin.run("status", "--json").json()["trackers"]
            assert (state["url"], state["trouble"], state["shares"] > 0) == (url, "", True)
            by_hand = other.run("search", "concert")
            assert "concert.flac" in by_hand.out
            assert node.peer[:16] in by_hand.out
            assert [row["id"] for row in other.run("browse", node.peer, "--json").json()] == [hit["id"]]
            album = make_file(tmp_path / "album" / "Étude.flac", 1000).parent
            folder = origin.run("share", album, "--json").json()
            (one,) = found(other, "étude")
            assert (one["id"], one["matched"]) == (folder["id"], "Étude.flac"), "a folder of one file is a folder"
            assert [hit["id"] for hit in found(other, "ét")] == [folder["id"]]
            assert "500 characters" in other.run("search", "x" * 501, code=2).err
            os.kill(pid, signal.SIGKILL)
            assert "No tracker answers" in other.run("search", "concert", code=1).err
            nobody = other.run("search", "concert", code=1)
            assert "tracker" in nobody.err
            assert nobody.out == ""
            make_file(tmp_path / "more", 1000)
            more = origin.run("share", tmp_path / "more").out.strip()
            assert other.run("get", more, "--out", tmp_path / "out").code == 0
            until(lambda: bool(trouble(origin)), "trouble with the tracker")


def trouble(peer: Peer) -> str:
    (state,) = peer.run("status", "--json").json()["trackers"]
    return str(state["trouble"])


def test_a_tracker_stops_gracefully_and_starts_again_where_it_was(origin: Peer, tmp_path: Path) -> None:
    make_file(tmp_path / "concert.flac", 1000)
    home = tmp_path / "tracker"
    with Peer(home).start("tracker", "--listen", "127.0.0.1:0") as running:
        url = running.line().split()[1]
        with origin.node("--no-dht", "--tracker", url):
            origin.run("share", tmp_path / "concert.flac")
            assert found(origin, "concert")
            outcome = running.end(signal.SIGTERM)
            assert outcome.code == 0
            assert outcome.err == ""
            with Peer(home).start("tracker", "--listen", url.removeprefix("http://")) as again:
                again.line()
                assert found(origin, "concert")


def test_in_the_foreground(origin: Peer, other: Peer, tmp_path: Path) -> None:
    """Without a running peer each command finds its own way in."""
    make_file(tmp_path / "holiday.bin", 300_000)
    with running_tracker(tmp_path / "tracker") as (url, _):
        with origin.start("share", tmp_path / "holiday.bin", "--tracker", url, "--no-lan") as sharing:
            sharing.line()
            until(lambda: bool(searched(other, url).json()), "the share on the tracker")
            (hit,) = searched(other, url).json()
            assert other.run("get", BARE + hit["id"], "--tracker", url, "--out", tmp_path / "out").code == 0
            assert sharing.end().code == 0
        # It has said good-bye.
        until(lambda: not searched(other, url).json(), "the share gone from the tracker")
        assert searched(other, url).err == "", "the tracker has answered, so nothing is said of the DHT"


def searched(peer: Peer, url: str) -> Outcome:
    return peer.run("search", "holiday", "--json", "--tracker", url, "--no-dht", "--no-lan")


def test_nobody_to_ask(other: Peer, tmp_path: Path) -> None:
    outcome = other.run("search", "holiday", "--no-dht", "--no-lan", code=1)
    assert "--tracker URL" in outcome.err
    outcome = other.run("search", "a", code=2)
    assert "at least 3 letters" in outcome.err
    outcome = other.run("search", "concert", "--tracker", "http://127.0.0.1:1", "--no-lan", code=1)
    assert "asking trackers, or the DHT" in outcome.err, "it takes a while, so it says what it does"
    outcome = other.run("browse", "nonsense", code=2)
    assert "neither a peer id" in outcome.err
    outcome = other.run("get", f"shoal:{'a' * 52}/news", "--wait", "0.5s", "--no-lan", code=3)
    assert "Nobody knew of" in outcome.err
    assert json.loads(other.run("config", "--json").out)["network"]["trackers"] == []


def test_a_tracker_of_another_network_is_no_help(origin: Peer, tmp_path: Path) -> None:
    stranger = Peer(tmp_path / "stranger", network="test-other")
    with running_tracker(tmp_path / "tracker") as (url, _):
        outcome = stranger.run("search", "holiday", "--tracker", url, "--no-dht", "--no-lan", code=1)
        assert "belongs to the network 'test-system', and you to 'test-other'" in outcome.err
