"""Reading from a share without getting it: `ls` and `cat`, with a running peer and without."""

from pathlib import Path

from p2p import ids
from p2p.wire.link import parse_link
from tests.support.processes import Peer, make_file


def test_a_share_is_listed_and_one_file_of_it_written_to_stdout(origin: Peer, other: Peer, tmp_path: Path) -> None:
    text = "".join(f"line {number}\n" for number in range(50_000))
    make_file(tmp_path / "data" / "large.bin", 3_000_000)
    (tmp_path / "data" / "notes").mkdir()
    (tmp_path / "data" / "notes" / "a.txt").write_text(text)
    with origin.sharing(tmp_path / "data") as link:
        table = other.run("ls", link).out
        assert [line.split()[0] for line in table.splitlines()] == ["name", "large.bin", "notes/"]
        rows = other.run("ls", link, "notes", "--json").json()["rows"]
        assert [(row["name"], row["size"]) for row in rows] == [("a.txt", len(text))]
        assert other.run("cat", link, "notes/a.txt").out == text
        with other.node():
            assert other.run("cat", link, "notes/a.txt").out == text
            assert other.unread("cat", link, "notes/a.txt").err == ""
            assert "has no file" in other.run("cat", link, "notes", code=2).err
            named = parse_link(link)
            address = f"shoal://{ids.to_text(named.share_id)}/notes"
            for arguments in ((f"{address}/a%2Etxt",), (address, "a.txt")):
                assert other.run("cat", *arguments, "--peer", str(named.peers[0])).out == text
            assert other.run("ls", address, "--json").json()["rows"] == rows
            received = list(other.home.rglob("large.bin"))
            assert all(path.stat().st_blocks < 1000 for path in received), "nobody asked for that"
    assert "Nobody had this" in other.run("ls", "a" * 52, "--wait", "0.1s", code=3).err
