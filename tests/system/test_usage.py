"""The command line itself: help, and how misuse is answered."""

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from typer.main import get_command

from p2p import __version__
from p2p.commandline.app import app
from tests.support.processes import Outcome, Peer

COMMANDS = (
    *("node", "share", "get", "ls", "cat", "sql", "fetches", "pause", "resume", "remove"),
    *("run", "jobs", "result", "logs", "cancel", "search", "browse"),
    *("shares", "unshare", "peers", "status", "limit", "config", "web", "open", "volunteer", "env", "tracker", "demo"),
    "cluster",
)
NEED_A_NODE = (("status",), ("limit",), ("peers",), ("volunteer", "status"), ("web",), ("open", "a" * 52))
SHARE_ID = "a" * 52
ROOT = Path(__file__).parents[2]
AGREP = ROOT / "examples" / "wasm" / "agrep.wasm"


def test_help_lists_the_commands(origin: Peer) -> None:
    outcome = origin.run("--help")
    words = outcome.out.split()
    assert set(COMMANDS) <= set(words)
    assert set(COMMANDS) == set(getattr(get_command(app), "commands", ()))
    assert outcome.err == ""
    assert not origin.home.exists(), "asking changes nothing"


def test_the_version(origin: Peer) -> None:
    assert origin.run("--version").out == f"shoal {__version__}\n"


def test_commands_that_need_a_running_peer_say_so(origin: Peer) -> None:
    for command in NEED_A_NODE:
        outcome = origin.run(*command, "--json", code=1)
        assert outcome.out == ""
        assert "shoal node" in outcome.err


def test_a_checkout_has_the_command_too(tmp_path: Path) -> None:
    checkout = Peer(tmp_path / "home", command=(sys.executable, str(ROOT / "cli.py")))
    assert checkout.run("--version").out == f"shoal {__version__}\n"


def test_who_has_read_enough_is_no_fault(origin: Peer) -> None:
    for command in (("config",), ("shares", "--json"), ("jobs", "--json")):
        outcome = origin.unread(*command)
        assert outcome.code == 1
        assert outcome.err == ""


MISUSE = [
    ((), "COMMAND"),
    (("nonsense",), "nonsense"),
    (("get",), "LINK"),
    (("get", "nonsense"), "neither a link"),
    (("get", "magnet:?xt=urn:btih:c12fe1c06bba254a9dc9f519b335aa7c1367a88a"), "names no Shoal share"),
    (("get", f"magnet:?xt=urn:shoal:{SHARE_ID}1"), "not a link"),
    (("get", f"magnet:?xt=urn:shoal:{SHARE_ID}&x.k=secret"), "encrypted"),
    (("get", SHARE_ID, "--peer", "somewhere"), "HOST:PORT"),
    (("get", SHARE_ID, "--wait", "soon"), "30s"),
    (("get", SHARE_ID, "--limit", "fast"), "512MiB"),
    (("get", SHARE_ID, "--nonsense"), "--nonsense"),
    (("get", SHARE_ID, "--select", ""), "--select is empty"),
    (("get", SHARE_ID, "--exclude", ""), "--exclude is empty"),
    (("node", "--volunteer", "--cores", "0"), "at least one core"),
    (("node", "--cores", "2"), "Give --volunteer too"),
    (("get", f"shoal:{SHARE_ID}"), "the name is empty"),
    (("get", f"shoal:s/{SHARE_ID}"), "not whole: 52 characters"),
    (("get", f"shoal:s/{SHARE_ID}aaaaaa"), "mistyped"),
    (("share",), "PATH"),
    (("share", ".", "--as", ""), "the name is empty"),
    (("share", ".", "--tracker", "udp://192.0.2.1"), "http://"),
    (("node", "--join", "192.0.2.1"), "HOST:PORT"),
    (("search",), "WORDS"),
    (("search", "a"), "at least 3 letters"),
    (("browse", "nobody"), "neither a peer id"),
    (("tracker", "--listen", "here"), "HOST:PORT"),
    (("tracker", "--url", "here"), "http://"),
    (("tracker", "--outside", "127.0.0.1"), "Give the public address"),
    (("share", "does-not-exist"), "does not exist"),
    (("share", "/", "--yes"), "--name"),
    (("node", "--listen", "127.0.0.1"), "HOST:PORT"),
    (("node", "--listen", "127.0.0.1:99999"), "port"),
    (("node", "--network", "Not Good"), "network.name"),
    (("node", "--upload-limit", "fast"), "512MiB"),
    (("run",), "--resume"),
    (("run", str(AGREP), "--local"), "--local is for jobs in Python"),
    (("run", "x.py", "--local", "--peer", "192.0.2.1:7474", "--no-dht"), "--peer, --no-dht: not with --local"),
    (("run", "x.py", "--local", "--unit-time", "10m", "--wait", "3s"), "--unit-time, --wait: not with --local"),
    (("run", "--local", "--resume", "zzz"), "--resume: not with --local"),
    (("run", "nowhere.py"), "does not exist"),
    (("run", "x.py", "--input", ""), "--input is empty"),
    (("run", "--resume", "zzz"), "shoal jobs"),
    (("run", "--resume", "zzz", "--out", "there"), "--out: not with --resume"),
    (("logs", "zzz"), "shoal jobs"),
    (("demo", "--size", "huge"), "512MiB"),
]


def test_misuse_is_answered_with_what_to_do(tmp_path: Path) -> None:
    outcomes = at_once(tmp_path, [arguments for arguments, _ in MISUSE])
    for (arguments, complaint), outcome in zip(MISUSE, outcomes, strict=True):
        assert outcome.code == 2, arguments
        assert complaint in (outcome.err or outcome.out), arguments
        assert len(outcome.err.splitlines()) <= 6, arguments


def at_once(folder: Path, commands: Sequence[tuple[str, ...]]) -> list[Outcome]:
    """The outcomes of commands that run side by side, each in a home of its own."""
    with ExitStack() as stack:
        running = [
            stack.enter_context(Peer(folder / f"home {number}").start(*command))
            for number, command in enumerate(commands)
        ]
        return [command.wait() for command in running]
