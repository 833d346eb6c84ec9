"""The command line: parses, calls p2p, prints. The contract is in docs/cli.md.

Everything heavy is imported inside the commands, so that `shoal --help` costs little more than typer itself.
Progress, notes and warnings go to stderr; stdout carries the answer alone.
"""

import functools
import inspect
import json
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

if TYPE_CHECKING:
    from p2p.config import Settings
    from p2p.services.requests import AnyRequest

VERSION = "0.1.0"
DONE, FAILED, NOBODY = 0, 1, 3

app = typer.Typer(
    help="Share files with many, fetch them from many at once. Peers may fail or lie; what arrives is right.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Listen = Annotated[
    list[str] | None,
    typer.Option("--listen", metavar="HOST:PORT", help="Where to listen; repeatable. Port 0 takes a free one."),
]
Join = Annotated[
    list[str] | None, typer.Option("--join", metavar="HOST:PORT", help="A peer by which to join the DHT; repeatable.")
]
Tracker = Annotated[list[str] | None, typer.Option("--tracker", metavar="URL", help="A tracker to use; repeatable.")]
NoLan = Annotated[bool, typer.Option("--no-lan", help="Do not look for peers on the local network.")]
NoDht = Annotated[bool, typer.Option("--no-dht", help="Do not take part in the DHT.")]
NetworkName = Annotated[
    str | None, typer.Option("--network", metavar="NAME", help="The network to be part of; they never mix.")
]
Json = Annotated[bool, typer.Option("--json", help="Answer with JSON.")]


def _network_settings(
    listen: Listen = None,
    join: Join = None,
    tracker: Tracker = None,
    no_lan: NoLan = False,
    no_dht: NoDht = False,
    network: NetworkName = None,
) -> "Settings":
    """What the network options set; those given alone."""
    from p2p.wire.address import parse_address

    values: dict[str, Any] = {}
    if listen:
        values["listen"] = [str(parse_address(text, any_port=True)) for text in listen]
    if join:
        values["join"] = [str(parse_address(text)) for text in join]
    if tracker:
        from p2p.net.web import check_url

        values["trackers"] = [check_url(url) for url in tracker]
    if no_lan:
        values["lan"] = False
    if no_dht:
        values["dht"] = False
    if network is not None:
        values["name"] = network
    return {"network": values} if values else {}


def _networked(command: Callable[..., None]) -> Callable[..., None]:
    """A command that may start a peer: with the network options, which it gets as `settings`."""
    own = [p for p in inspect.signature(command).parameters.values() if p.name != "settings"]
    network = inspect.signature(_network_settings).parameters

    @functools.wraps(command)
    def with_options(**given: Any) -> None:
        settings = _network_settings(**{name: given.pop(name) for name in network})
        command(**given, settings=settings)

    # What typer makes options of.
    parameters = [p.replace(kind=p.KEYWORD_ONLY) for p in (*own, *network.values())]
    with_options.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    with_options.__annotations__ = {p.name: p.annotation for p in parameters}
    return with_options


def _show_version(asked: bool) -> None:
    if asked:
        print(f"shoal {VERSION}")
        raise typer.Exit


class Global:
    """The options before the command."""

    home: Path
    verbose: bool


@app.callback()
def options(
    home: Annotated[
        Path | None,
        typer.Option(envvar="SHOAL_HOME", help="This peer's folder: key, settings, database. A home is a peer."),
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say on stderr what happens.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and end.", is_eager=True, callback=_show_version)
    ] = False,
) -> None:
    from p2p import config, log

    Global.home = (home or config.default_home()).absolute()
    Global.verbose = verbose
    log.set_up(verbose=verbose)


@app.command()
@_networked
def node(
    upload_limit: Annotated[str | None, typer.Option(metavar="RATE", help="Like 10MiB, a second.")] = None,
    download_limit: Annotated[str | None, typer.Option(metavar="RATE", help="Like 10MiB, a second.")] = None,
    volunteer: Annotated[bool, typer.Option("--volunteer", help="Run other people's jobs, in a sandbox.")] = False,
    cores: Annotated[int | None, typer.Option(metavar="N", help="That volunteer; all but one.")] = None,
    memory: Annotated[str | None, typer.Option(metavar="SIZE", help="For each of those cores.")] = None,
    *,
    settings: "Settings",
) -> None:
    """Run this peer until Ctrl-C. Prints `ready PEER HOST:PORT` once it serves."""
    from p2p import command
    from p2p.units import parse_size

    for key, text in (("upload", upload_limit), ("download", download_limit)):
        if text is not None:
            settings.setdefault("transfer", {})[f"{key}_limit_bytes_per_s"] = parse_size(text)

    if volunteer:
        settings.setdefault("volunteer", {})["cores"] = cores or max(1, (os.cpu_count() or 1) - 1)
        if memory is not None:
            settings["volunteer"]["memory_bytes"] = parse_size(memory)

    async def serve() -> int:
        from p2p import config, ids, terminal
        from p2p.node import open_node

        loaded = config.load(Global.home, os.environ, settings)
        interrupted = terminal.on_signal()
        async with open_node(Global.home, loaded.config, foreground=False) as running:
            for note in running.notes:
                terminal.note(note)
            local = running.local
            print(f"ready {ids.to_text(local.peer_id)} {local.addresses[0]}", flush=True)
            terminal.note(f"This peer runs in {local.home}. Stop it with Ctrl-C.", only_live=True)
            if lent := loaded.config.volunteer.cores:
                lent_text = f"It lends {terminal.count(lent, 'core')}; `shoal volunteer status` says to what."
                terminal.note(lent_text, only_live=True)
            await interrupted.wait()
        return DONE

    sys.exit(command.run(serve))


@app.command()
@_networked
def share(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH", help="Files or folders; one share in all.")],
    name: Annotated[str | None, typer.Option(help="What to call it, if not like the first path.")] = None,
    unlisted: Annotated[bool, typer.Option("--unlisted", help="Only who has the link can get it.")] = False,
    pointer: Annotated[
        str | None, typer.Option("--as", metavar="NAME", help="Publish as the newest NAME: a link that stays.")
    ] = None,
    as_json: Json = False,
    *,
    settings: "Settings",
) -> None:
    """Share files or a folder where they are. Prints the link; without a running peer, serves until Ctrl-C."""
    from p2p.services.requests import Share

    request = Share(paths=tuple(str(path.resolve()) for path in paths), name=name, unlisted=unlisted, pointer=pointer)

    def show(answer: dict[str, Any]) -> None:
        _print(json.dumps(answer) if as_json else answer.get("pointer", answer["link"]))
        from p2p import terminal

        terminal.shared(answer)

    _perform(request, settings, show, stay=True)


@app.command()
@_networked
def get(
    link: Annotated[str, typer.Argument(metavar="LINK", help="A magnet link, the id of a share, or shoal:PEER/NAME.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="The folder to put it into.")] = Path(),
    peer: Annotated[
        list[str] | None, typer.Option(metavar="HOST:PORT", help="Somebody who may have it; repeatable.")
    ] = None,
    select: Annotated[list[str] | None, typer.Option(metavar="GLOB", help="Only paths like this; repeatable.")] = None,
    sequential: Annotated[bool, typer.Option("--sequential", help="In order, to look at it meanwhile.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that are different.")] = False,
    wait: Annotated[str | None, typer.Option(metavar="TIME", help="Give up when nobody has it for so long.")] = None,
    limit: Annotated[str | None, typer.Option(metavar="RATE", help="Like 10MiB, a second.")] = None,
    as_json: Json = False,
    *,
    settings: "Settings",
) -> None:
    """Fetch a share, verified, from all who have it. Goes on from where an earlier try stopped."""
    from p2p.services.requests import Get
    from p2p.units import parse_size, parse_time
    from p2p.wire.link import parse_any_link, parse_peer

    parse_any_link(link)
    for text in peer or ():
        parse_peer(text)
    request = Get(
        link=link,
        out=str(out.absolute()),
        peers=tuple(peer or ()),
        select=tuple(select or ()),
        sequential=sequential,
        overwrite=overwrite,
        wait_s=None if wait is None else parse_time(wait),
        limit_bytes_per_s=0 if limit is None else parse_size(limit),
    )

    def show(answer: dict[str, Any]) -> None:
        from p2p import terminal

        terminal.fetched(answer)
        _print(json.dumps(answer) if as_json else "\n".join(answer["paths"]))

    again = "What was fetched is kept; the same command goes on from there."
    _perform(request, settings, show, interrupted=again, nobody=NOBODY)


@app.command()
@_networked
def run(
    job: Annotated[
        Path | None,
        typer.Argument(metavar="JOB", help="A Python file with a function job, a folder with job.py, or a .wasm file."),
    ] = None,
    inputs: Annotated[
        list[str] | None, typer.Option("--input", metavar="LINK_OR_PATH", help="What it reads; repeatable.")
    ] = None,
    arg: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="For the job: JSON, else text; repeatable.")
    ] = None,
    runtime: Annotated[
        str | None, typer.Option(metavar="RUNTIME", help="python-wasm or python-wasm-science; chosen, if not given.")
    ] = None,
    partitions: Annotated[int, typer.Option(metavar="N", help="How many units, about; else 8 MiB of input each.")] = 0,
    unit_memory: Annotated[str, typer.Option(metavar="SIZE", help="That a unit may take.")] = "512MiB",
    unit_time: Annotated[str, typer.Option(metavar="TIME", help="That a unit may take.")] = "10m",
    trust: Annotated[str, typer.Option(metavar="own", help="Who is believed: own, every volunteer.")] = "own",
    volunteers: Annotated[int, typer.Option(metavar="N", help="At most so many.")] = 0,
    peer: Annotated[list[str] | None, typer.Option(metavar="HOST:PORT", help="A volunteer; repeatable.")] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Where files that the job saves go.")] = None,
    wait: Annotated[str | None, typer.Option(metavar="TIME", help="Give up when nobody works for so long.")] = None,
    local: Annotated[bool, typer.Option("--local", help="In this process: no volunteers, and no walls.")] = False,
    resume: Annotated[
        str | None, typer.Option(metavar="JOB_ID", help="Go on with a job that was stopped; nothing else is given.")
    ] = None,
    as_json: Json = False,
    *,
    settings: "Settings",
) -> None:
    """Run a job on volunteers' machines, and print its result."""
    from p2p.errors import ConfigError
    from p2p.services.requests import Resume, Run, Wish
    from p2p.units import parse_size, parse_time
    from p2p.wire.link import parse_peer

    if trust != "own":
        if trust == "audit" or trust.startswith("quorum="):
            raise ConfigError(f"--trust {trust}: not in this version. With own every volunteer is believed.")
        raise ConfigError(f"--trust {trust}: there is own.")
    if (job is None) == (resume is None):
        raise ConfigError("Give a job to run, or --resume with the id of one that was stopped: see `shoal jobs`.")

    def show(answer: dict[str, Any]) -> None:
        if as_json:
            _print(json.dumps(answer))
        elif "paths" in answer or "link" in answer:
            _print("\n".join(answer.get("paths") or [answer["link"]]))
            if "folder" in answer:
                from p2p import terminal

                terminal.note(f"The files are in {answer['folder']}, and a peer that runs here shares them.")
        else:
            _print(answer["text"] or json.dumps(answer["result"]))

    stopped = "The job is kept: `shoal jobs` lists it, `shoal run --resume ID` goes on, `shoal cancel ID` forgets it."
    if job is None:
        _perform(Resume(id=str(resume)), settings, show, interrupted=stopped, nobody=NOBODY)
    for text in peer or ():
        parse_peer(text)
    wish = Wish(
        path=str(job.absolute()),
        inputs=tuple(map(_input, inputs or ())),
        args=dict(map(_argument, arg or ())),
        runtime=runtime,
        partitions=partitions,
        unit_memory=parse_size(unit_memory),
        unit_time_s=parse_time(unit_time),
        volunteers=volunteers,
        peers=tuple(peer or ()),
        out=None if out is None else str(out.absolute()),
        wait_s=None if wait is None else parse_time(wait),
    )
    if local:
        from p2p import local_job

        show(local_job.run(job, list(inputs or ()), wish.args, partitions, out))
        return
    _perform(Run(wish=wish), settings, show, interrupted=stopped, nobody=NOBODY)


@app.command()
def jobs(as_json: Json = False) -> None:
    """List this peer's jobs: under way, stopped, and the last that ended."""
    from p2p import tables
    from p2p.services.requests import Jobs

    _perform(Jobs(), {}, _either(as_json, tables.jobs))


@app.command()
def logs(
    job: Annotated[str, typer.Argument(metavar="JOB_ID", help="The job's id, or its beginning.")],
    unit: Annotated[
        str | None, typer.Argument(metavar="[UNIT]", help="One unit alone, as ACTION.STAGE.PARTITION.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Print what the units of a job printed."""
    from p2p import tables
    from p2p.services.requests import Logs

    _perform(Logs(id=job, unit=None if unit is None else _unit(unit)), {}, _either(as_json, tables.logs))


@app.command()
def cancel(job: Annotated[str, typer.Argument(metavar="JOB_ID", help="The job's id, or its beginning.")]) -> None:
    """End a job of this peer, or forget one that was stopped."""
    from p2p import terminal
    from p2p.services.requests import Cancel

    _perform(Cancel(id=job), {}, lambda answer: terminal.note(f"Job {answer['job'][:8]} is cancelled."))


volunteer_app = typer.Typer(help="What this peer offers of its computing power.", no_args_is_help=True)
app.add_typer(volunteer_app, name="volunteer")


@volunteer_app.command("status")
def volunteer_status(as_json: Json = False) -> None:
    """Say what it offers, and what it does."""
    _volunteer(None, as_json)


@volunteer_app.command("pause")
def volunteer_pause(as_json: Json = False) -> None:
    """Finish what it has begun, and take no more."""
    _volunteer(True, as_json)


@volunteer_app.command("resume")
def volunteer_resume(as_json: Json = False) -> None:
    """Take work again."""
    _volunteer(False, as_json)


@app.command()
@_networked
def search(
    words: Annotated[list[str], typer.Argument(metavar="WORDS...", help="All of them are in the name or the files.")],
    as_json: Json = False,
    *,
    settings: "Settings",
) -> None:
    """Find shares by words, over trackers, else over the DHT."""
    from p2p import tables
    from p2p.services.requests import Search

    _perform(Search(query=" ".join(words)), settings, _either(as_json, tables.hits))


@app.command()
@_networked
def browse(
    peer: Annotated[str, typer.Argument(metavar="PEER", help="A peer id, HOST:PORT, or both: ID@HOST:PORT.")],
    as_json: Json = False,
    *,
    settings: "Settings",
) -> None:
    """List what one peer shares."""
    from p2p import tables
    from p2p.services.requests import Browse

    _perform(Browse(peer=peer), settings, _either(as_json, tables.listed))


@app.command()
def shares(as_json: Json = False) -> None:
    """List what this peer shares."""
    from p2p import tables
    from p2p.services.requests import Shares

    _perform(Shares(), {}, _either(as_json, tables.shares))


@app.command()
def unshare(
    share_id: Annotated[str, typer.Argument(metavar="ID", help="The share's id, its beginning, or its link.")],
    as_json: Json = False,
) -> None:
    """Stop sharing; the files stay."""
    from p2p import terminal
    from p2p.services.requests import Unshare

    def show(answer: dict[str, Any]) -> None:
        if as_json:
            _print(json.dumps(answer))
        terminal.note(f"{answer['name']} is no longer shared; its files stay where they are.")

    _perform(Unshare(id=share_id), {}, show)


@app.command()
def peers(as_json: Json = False) -> None:
    """List the peers this one is connected with."""
    from p2p import tables
    from p2p.services.requests import Peers

    _perform(Peers(), None, _either(as_json, tables.peers))


@app.command()
def status(as_json: Json = False) -> None:
    """Say what this peer is and does."""
    from p2p import tables
    from p2p.services.requests import Status

    _perform(Status(), None, _either(as_json, tables.status))


@app.command()
def config(as_json: Json = False) -> None:
    """Print the settings in force, each with where it came from."""
    from p2p.config import load, to_toml

    loaded = load(Global.home, os.environ, {})
    if as_json:
        import msgspec

        _print(msgspec.json.encode(loaded.config).decode())
    else:
        _print(to_toml(loaded).rstrip())


@app.command()
def tracker(
    listen: Listen = None,
    db: Annotated[Path | None, typer.Option(metavar="PATH", help="Its database; tracker.db in the home.")] = None,
    url: Annotated[str | None, typer.Option(metavar="URL", help="Where others reach it.")] = None,
    proxy: Annotated[
        list[str] | None, typer.Option(metavar="IP", help="A proxy before it, whose X-Forwarded-For is believed.")
    ] = None,
    network: NetworkName = None,
) -> None:
    """Run a tracker, the optional central index with its page, until Ctrl-C. Prints `ready URL` once it answers."""
    from p2p import command
    from tracker.command import run

    path = db and db.absolute()
    sys.exit(command.run(partial(run, Global.home, listen=listen, db=path, url=url, proxy=proxy, network=network)))


@app.command()
def demo(
    size: Annotated[str, typer.Option(metavar="SIZE", help="Of the large file.")] = "192MiB",
    as_json: Json = False,
) -> None:
    """Run a whole network on this machine: a tracker, peers that find and fetch, and what is killed meanwhile."""
    from p2p.demo import run_demo
    from p2p.units import parse_size

    raise typer.Exit(run_demo(parse_size(size), as_json=as_json))


def main() -> None:
    """The `shoal` command."""
    from p2p.errors import ShoalError

    hung_up = False
    try:
        try:
            app()
        except* BrokenPipeError:  # in a group, where it comes from within a peer
            hung_up = True
    except ShoalError as error:
        from p2p.log import explain

        sys.exit(explain(error))
    if hung_up:
        # Whoever read our output has had enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(FAILED)


# From a command to a peer.


def _perform(
    request: "AnyRequest",
    settings: "Settings | None",
    show: Callable[[Any], None],
    *,
    stay: bool = False,
    interrupted: str = "",
    nobody: int = FAILED,
) -> NoReturn:
    """Has the peer of this home perform the request, and ends."""
    from p2p import command

    perform = partial(command.perform, Global.home, request, settings, show, stay=stay)
    sys.exit(command.run(perform, interrupted=interrupted, nobody=nobody))


def _volunteer(pause: bool | None, as_json: bool) -> NoReturn:
    from p2p import tables
    from p2p.services.requests import VolunteerStatus

    _perform(VolunteerStatus(pause=pause), None, _either(as_json, tables.volunteer))


def _argument(text: str) -> tuple[str, Any]:
    """NAME=VALUE, the value as JSON if it is that."""
    from p2p.errors import ConfigError

    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise ConfigError(f"--arg {text}: write NAME=VALUE, with the name of an argument of the job's function.")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _input(text: str) -> str:
    """A link as it is, a path absolute."""
    from p2p.errors import ConfigError
    from p2p.wire.link import parse_link

    if text.startswith("magnet:"):
        return text
    path = Path(text).absolute()
    with suppress(ConfigError):
        if not path.exists() and parse_link(text):
            return text
    return str(path)


def _unit(text: str) -> tuple[int, int, int]:
    """ACTION.STAGE.PARTITION."""
    from p2p.errors import ConfigError

    parts = text.split(".")
    if len(parts) != 3 or not all(part.isascii() and part.isdigit() and len(part) < 10 for part in parts):
        raise ConfigError(f"{text}: a unit is written ACTION.STAGE.PARTITION, as `shoal logs JOB_ID` shows it.")
    action, stage, partition = map(int, parts)
    return action, stage, partition


def _either(as_json: bool, table: Callable[[Any], None]) -> Callable[[Any], None]:
    return (lambda answer: _print(json.dumps(answer))) if as_json else table


def _print(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    main()
