"""Fetches of a node that is killed: it goes on with them when it starts again, and with none that was paused."""

import signal
from pathlib import Path
from typing import Any

from tests.support.processes import Peer, make_file, until


def rows(peer: Peer) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = peer.run("fetches", "--json").json()
    return found


def test_a_node_that_was_killed_goes_on_with_its_fetches(origin: Peer, tmp_path: Path) -> None:
    fetcher = Peer(tmp_path / "fetcher")
    large, small = make_file(tmp_path / "large.bin", 64 << 20), make_file(tmp_path / "small.bin", 1 << 20)
    with origin.node("--no-lan") as source:
        links = [origin.run("share", path).out.strip() for path in (large, small)]
        outcome = fetcher.run("get", links[0], "--background", code=1)
        assert "shoal node" in outcome.err
        out = tmp_path / "out"
        with fetcher.node("--no-lan") as node:
            large_one = ("get", links[0], "--out", out, "--peer", source.address, "--background")
            begun = fetcher.run(*large_one, "--limit", "512KiB").out.strip()
            waits = fetcher.run("get", links[1], "--out", out, "--limit", "1KiB", "--background").out.strip()
            fetcher.run("pause", waits[:8])
            until(lambda: any(row["done"] for row in rows(fetcher) if row["id"] == begun), "the first chunk")
            node.end(signal.SIGKILL)
        assert {row["id"]: row["state"] for row in rows(fetcher)} == {begun: "waiting", waits: "paused"}
        with fetcher.node("--no-lan"):
            with fetcher.start("fetches", "--follow", begun[:8]) as followed:
                until(lambda: rows(fetcher)[1]["state"] == "running", "the fetch")
                # Until a command handles Ctrl-C, the system ends it: to a shell, both are 130.
                assert followed.end().code in {130, -signal.SIGINT}
                assert followed.out == ""
            assert fetcher.run(*large_one).out.strip() == begun, "the same fetch, without a limit"
            answer = fetcher.run("fetches", "--follow", begun, "--json").json()
            assert answer["paths"] == [str(out / "large.bin")]
            assert (out / "large.bin").read_bytes() == large.read_bytes()
            assert {row["id"]: row["state"] for row in rows(fetcher)} == {begun: "done", waits: "paused"}
            fetcher.run("remove", waits)
            outcome = fetcher.run("remove", begun, "--delete-files", code=2)
            assert "--yes" in outcome.err
            fetcher.run("remove", begun, "--delete-files", "--yes")
            assert list(out.iterdir()) == []
            assert rows(fetcher) == []
