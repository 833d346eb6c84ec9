"""A peer that is set not to be dialled says so, and what can be done about it."""

from pathlib import Path

from tests.harness import Peer, make_file


def test_it_tells_nobody_where_it_listens(origin: Peer, tmp_path: Path) -> None:
    file = make_file(tmp_path / "data.bin", 1000)
    with origin.node(SHOAL_NETWORK_DIALABLE="no"):
        link = origin.run("share", file).out.strip()
        assert link.startswith("magnet:")
        assert "x.pe" not in link
        status = origin.run("status", "--json").json()
        assert (status["reachability"], status["reachable_from"]) == ("not dialable", "everywhere")
        assert "no, as it is set" in origin.run("status").out
    with origin.node():
        (row,) = origin.run("shares", "--json").json()
        assert "x.pe" in row["link"]
        assert origin.run("status", "--json").json()["reachability"] == "unknown"


def test_whoever_was_dialled_knows_it(origin: Peer, other: Peer, tmp_path: Path) -> None:
    file = make_file(tmp_path / "data.bin", 1000)
    with origin.node():
        link = origin.run("share", file).out.strip()
        other.run("get", link, "--out", "got")
        status = origin.run("status", "--json").json()
        assert (status["reachability"], status["reachable_from"]) == ("dialable", "this machine")
        assert "yes, from this machine" in origin.run("status").out


def test_the_setting_is_checked(origin: Peer) -> None:
    assert 'dialable = "no"  # environment' in origin.run("config", SHOAL_NETWORK_DIALABLE="no").out
    refused = origin.run("config", SHOAL_NETWORK_DIALABLE="perhaps", code=2)
    assert "SHOAL_NETWORK_DIALABLE" in refused.err
