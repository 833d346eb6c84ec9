"""The program `shoal`: all commands as one command line. The contract is in docs/cli.md.

The commands are in the modules beside this one, except `tracker` and `demo`, which are here. Progress, notes
and warnings go to stderr; stdout carries the answer and nothing else.
"""

import io
import os
import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from p2p import __version__
from p2p.commandline import cluster, environments, errands, fetches, files, jobs, peer, sql, volunteering, web
from p2p.commandline.asking import FAILED
from p2p.commandline.options import Global, Json, Listen, NetworkName, as_path

app = typer.Typer(
    help="Share files with many people, and fetch them from many peers at once. Peers may fail or lie; "
    "what you receive is verified.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _show_version(asked: bool) -> None:
    if asked:
        print(f"shoal {__version__}")
        raise typer.Exit


@app.callback()
def options(
    home: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            envvar="SHOAL_HOME",
            help="This peer's folder: key, settings, database. Each home is a separate peer.",
            parser=as_path,
        ),
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log to stderr what is happening.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version, and exit.", is_eager=True, callback=_show_version)
    ] = False,
) -> None:
    from p2p import config, log
    from p2p.paths import to_make

    Global.home = to_make(home or config.default_home())
    log.set_up(verbose=verbose)


for command in (
    peer.node,
    files.share,
    files.get,
    files.ls,
    files.cat,
    sql.sql,
    fetches.fetches,
    errands.pause,
    errands.resume,
    errands.remove,
    jobs.run,
    jobs.jobs,
    jobs.result,
    jobs.logs,
    jobs.cancel,
    files.search,
    files.browse,
    files.shares,
    files.unshare,
    peer.peers,
    peer.status,
    peer.limit,
    peer.config,
    web.web,
):
    app.command()(command)
app.command("open")(web.open_share)
app.add_typer(volunteering.app, name="volunteer")
app.add_typer(environments.app, name="env")
app.add_typer(cluster.app, name="cluster")


@app.command()
def tracker(
    listen: Listen = None,
    db: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="The database file. \\[default: tracker.db in the home]", parser=as_path),
    ] = None,
    url: Annotated[str | None, typer.Option(metavar="URL", help="The URL at which others reach this tracker.")] = None,
    proxy: Annotated[
        list[str] | None,
        typer.Option(
            metavar="IP", help="A reverse proxy in front of the tracker, which tells who its clients are; repeatable."
        ),
    ] = None,
    proxy_header: Annotated[
        str,
        typer.Option(metavar="NAME", help="The header that it writes: X-Forwarded-For or Forwarded."),
    ] = "X-Forwarded-For",
    proxy_hops: Annotated[
        int, typer.Option(metavar="N", help="How many proxies a request passes, one behind the other.", min=1, max=16)
    ] = 1,
    outside: Annotated[
        list[str] | None,
        typer.Option(
            metavar="IP",
            help="The public address of this tracker's own network: BitTorrent clients elsewhere are told it instead "
            "of the private addresses of those here; repeatable, for IPv6.",
        ),
    ] = None,
    network: NetworkName = None,
) -> None:
    """Run a tracker (the optional central index, with a web page) until Ctrl-C. Prints `ready URL` when it is up."""
    from p2p.commandline import running
    from p2p.paths import absolute
    from tracker.command import run

    path = db and absolute(db)
    performed = partial(
        run,
        Global.home,
        listen=listen,
        db=path,
        url=url,
        proxy=proxy,
        proxy_header=proxy_header,
        proxy_hops=proxy_hops,
        outside=outside,
        network=network,
    )
    sys.exit(running.run(performed))


@app.command()
def demo(
    size: Annotated[str, typer.Option(metavar="SIZE", help="Size of the large file that the demo shares.")] = "192MiB",
    as_json: Json = False,
) -> None:
    """Run a whole network on this machine, kill some of it, and check every result.

    A tracker runs, and peers find and fetch a share, and run a job, while some are killed.
    """
    from p2p.commandline.demo import run_demo
    from p2p.formats import parse_size

    raise typer.Exit(run_demo(parse_size(size), as_json=as_json))


def main() -> None:
    """Runs the command that was typed."""
    from p2p.errors import ShoalError

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # not every terminal can show every name
    try:
        app()
    except BrokenPipeError:
        # The program that read our output has stopped reading.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(FAILED)
    except ShoalError as error:
        from p2p.log import explain

        sys.exit(explain(error))
