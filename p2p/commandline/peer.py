"""Commands about this peer: running it, and showing its connections, state and settings."""

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from p2p.commandline.asking import DONE, either, perform, print_answer
from p2p.commandline.options import Global, Json, networked

if TYPE_CHECKING:
    from p2p.config import Settings

WEB_LISTEN = "127.0.0.1:7475"


@networked
def node(
    upload_limit: Annotated[
        str | None,
        typer.Option(metavar="RATE", help="Maximum upload rate in bytes per second, such as 10MiB. \\[default: none]"),
    ] = None,
    download_limit: Annotated[
        str | None,
        typer.Option(
            metavar="RATE", help="Maximum download rate in bytes per second, such as 10MiB. \\[default: none]"
        ),
    ] = None,
    volunteer: Annotated[bool, typer.Option("--volunteer", help="Run other people's jobs, in a sandbox.")] = False,
    cores: Annotated[int | None, typer.Option(metavar="N", help="Cores to volunteer. \\[default: all but one]")] = None,
    memory: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Memory for each volunteered core. \\[default: 1GiB]")
    ] = None,
    unit_time: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="The longest that a unit of another peer's job may run. \\[default: 1h]"),
    ] = None,
    web: Annotated[bool, typer.Option("--web", help="Let browsers and scripts of yours in: see `shoal web`.")] = False,
    web_listen: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Where, if not at 127.0.0.1:7475.")
    ] = None,
    web_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A name by which a proxy that speaks TLS is reached; repeatable. All then need to log in.",
        ),
    ] = None,
    *,
    settings: "Settings",
) -> None:
    """Run this peer until Ctrl-C. Prints `ready PEER HOST:PORT` when it is up."""
    from p2p.commandline import running as command
    from p2p.errors import ConfigError
    from p2p.formats import parse_rate, parse_size, parse_time

    for key, text in (("upload", upload_limit), ("download", download_limit)):
        if text is not None:
            settings.setdefault("transfer", {})[f"{key}_limit_bytes_per_s"] = parse_rate(text)

    if volunteer:
        cores = max(1, (os.cpu_count() or 1) - 1) if cores is None else cores
        if cores < 1:
            raise ConfigError("A volunteer has at least one core. To lend none, leave out --volunteer.")
        settings.setdefault("volunteer", {})["cores"] = cores
        if memory is not None:
            settings["volunteer"]["memory_bytes"] = parse_size(memory)
        if unit_time is not None:
            settings["volunteer"]["unit_time_s"] = parse_time(unit_time)

    else:
        for option, value in (("--cores", cores), ("--memory", memory), ("--unit-time", unit_time)):
            if value is not None:
                raise ConfigError(f"{option} is for volunteers. Give --volunteer too.")

    if web or web_listen is not None:
        settings.setdefault("web", {})["listen"] = web_listen or WEB_LISTEN
    if web_host:
        settings.setdefault("web", {})["hosts"] = web_host

    async def serve() -> int:
        from p2p import config, ids
        from p2p.commandline import terminal
        from p2p.sandbox import compiled

        loaded = config.load(Global.home, os.environ, settings)
        interrupted = terminal.on_signal()
        async with command.node_opener()(Global.home, loaded.config, foreground=False) as running:
            for note in running.notes:
                terminal.note(note)
            print(f"ready {ids.to_text(running.peer_id)} {running.addresses[0]}", flush=True)
            terminal.note(f"This peer runs in {running.home}. Stop it with Ctrl-C.", only_live=True)
            if running.access is not None:
                terminal.note(f"It is on the web at {running.access.url}; `shoal web --code` lets a browser in.")
            if lent := loaded.config.volunteer.cores:
                lent_text = (
                    f"It offers {terminal.count(lent, 'core')}; `shoal volunteer status` shows what they are used for."
                )
                terminal.note(lent_text, only_live=True)
            if running.volunteering is not None and (names := await running.volunteering.to_compile()):
                terminal.note(compiled.notice(names))
            await interrupted.wait()
        return DONE

    sys.exit(command.run(serve))


def peers(as_json: Json = False) -> None:
    """List the peers that this one is connected to, for shares or for jobs."""
    from p2p.commandline import tables
    from p2p.control.protocol import PeersRequest

    perform(PeersRequest(), None, either(as_json, tables.peers))


def status(as_json: Json = False) -> None:
    """Show this peer's state and activity."""
    from p2p.commandline import tables
    from p2p.control.protocol import StatusRequest

    perform(StatusRequest(), None, either(as_json, tables.status))


def limit(
    upload: Annotated[
        str | None, typer.Option(metavar="RATE", help="Maximum upload rate, such as 2MiB, or none.")
    ] = None,
    download: Annotated[
        str | None, typer.Option(metavar="RATE", help="Maximum download rate, such as 2MiB, or none.")
    ] = None,
    fetch: Annotated[
        str | None, typer.Option(metavar="ID", help="Limit the download of this fetch, rather than of the peer.")
    ] = None,
    save: Annotated[bool, typer.Option("--save", help="Keep it in config.toml, for later starts.")] = False,
    as_json: Json = False,
) -> None:
    """Change how fast the running peer transfers, until it ends. Without options, show the limits."""
    from p2p.commandline import tables
    from p2p.control.protocol import LimitRequest
    from p2p.formats import parse_rate

    rates = [None if text is None else parse_rate(text) for text in (upload, download)]
    request = LimitRequest(upload=rates[0], download=rates[1], fetch=fetch, save=save)
    perform(request, None, either(as_json, tables.limits))


def config(as_json: Json = False) -> None:
    """Print the settings in use, and where each one comes from."""
    from p2p.config import load, to_toml

    loaded = load(Global.home, os.environ, {})
    if as_json:
        import msgspec

        print_answer(msgspec.json.encode(loaded.config).decode())
    else:
        print_answer(to_toml(loaded).rstrip())
