"""Commands about this peer: run it, show its state and its settings."""

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from p2p.commandline.asking import DONE, either, perform, print_answer
from p2p.commandline.options import Global, Json, networked

if TYPE_CHECKING:
    from p2p.config import Settings


@networked
def node(
    upload_limit: Annotated[
        str | None, typer.Option(metavar="RATE", help="Bytes per second to send at most, such as 10MiB.")
    ] = None,
    download_limit: Annotated[
        str | None, typer.Option(metavar="RATE", help="Bytes per second to receive at most, such as 10MiB.")
    ] = None,
    volunteer: Annotated[bool, typer.Option("--volunteer", help="Run other people's jobs, in a sandbox.")] = False,
    cores: Annotated[int | None, typer.Option(metavar="N", help="Cores to lend; default: all but one.")] = None,
    memory: Annotated[str | None, typer.Option(metavar="SIZE", help="Memory to lend with each core.")] = None,
    *,
    settings: "Settings",
) -> None:
    """Run this peer until Ctrl-C. Prints `ready PEER HOST:PORT` once it is serving."""
    from p2p.commandline import running as command
    from p2p.formats import parse_size

    for key, text in (("upload", upload_limit), ("download", download_limit)):
        if text is not None:
            settings.setdefault("transfer", {})[f"{key}_limit_bytes_per_s"] = parse_size(text)

    if volunteer:
        settings.setdefault("volunteer", {})["cores"] = cores or max(1, (os.cpu_count() or 1) - 1)
        if memory is not None:
            settings["volunteer"]["memory_bytes"] = parse_size(memory)

    async def serve() -> int:
        from p2p import config, ids
        from p2p.commandline import terminal

        loaded = config.load(Global.home, os.environ, settings)
        interrupted = terminal.on_signal()
        async with command.node_opener()(Global.home, loaded.config, foreground=False) as running:
            for note in running.notes:
                terminal.note(note)
            print(f"ready {ids.to_text(running.peer_id)} {running.addresses[0]}", flush=True)
            terminal.note(f"This peer runs in {running.home}. Stop it with Ctrl-C.", only_live=True)
            if lent := loaded.config.volunteer.cores:
                lent_text = f"It lends {terminal.count(lent, 'core')}; `shoal volunteer status` shows what they do."
                terminal.note(lent_text, only_live=True)
            await interrupted.wait()
        return DONE

    sys.exit(command.run(serve))


def peers(as_json: Json = False) -> None:
    """List the peers that this one is exchanging shares or working with."""
    from p2p.commandline import tables
    from p2p.control.protocol import PeersRequest

    perform(PeersRequest(), None, either(as_json, tables.peers))


def status(as_json: Json = False) -> None:
    """Show what this peer is and does."""
    from p2p.commandline import tables
    from p2p.control.protocol import StatusRequest

    perform(StatusRequest(), None, either(as_json, tables.status))


def config(as_json: Json = False) -> None:
    """Print the settings in force, each with where it came from."""
    from p2p.config import load, to_toml

    loaded = load(Global.home, os.environ, {})
    if as_json:
        import msgspec

        print_answer(msgspec.json.encode(loaded.config).decode())
    else:
        print_answer(to_toml(loaded).rstrip())
