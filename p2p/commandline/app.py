"""The program `shoal`: one command line of all commands. The contract is in docs/cli.md.

The commands are in the modules beside this one, except those that run a whole network, which are here. Progress, notes
and warnings go to stderr; stdout carries the answer alone.
"""

import os
import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from p2p import __version__
from p2p.commandline import files, jobs, peer, volunteering
from p2p.commandline.asking import FAILED
from p2p.commandline.options import Global, Json, Listen, NetworkName

app = typer.Typer(
    help="Share files with many, fetch them from many at once. Peers may fail or lie; what arrives is right.",
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
        typer.Option(envvar="SHOAL_HOME", help="This peer's folder: key, settings, database. A home is a peer."),
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say on stderr what happens.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and end.", is_eager=True, callback=_show_version)
    ] = False,
) -> None:
    from p2p import config, log

    Global.home = (home or config.default_home()).absolute()
    log.set_up(verbose=verbose)


for command in (
    peer.node,
    files.share,
    files.get,
    jobs.run,
    jobs.jobs,
    jobs.logs,
    jobs.cancel,
    files.search,
    files.browse,
    files.shares,
    files.unshare,
    peer.peers,
    peer.status,
    peer.config,
):
    app.command()(command)
app.add_typer(volunteering.app, name="volunteer")


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
    from p2p.commandline import running
    from tracker.command import run

    path = db and db.absolute()
    sys.exit(running.run(partial(run, Global.home, listen=listen, db=path, url=url, proxy=proxy, network=network)))


@app.command()
def demo(
    size: Annotated[str, typer.Option(metavar="SIZE", help="Of the large file.")] = "192MiB",
    as_json: Json = False,
) -> None:
    """Run a whole network on this machine: a tracker, peers that find and fetch, and what is killed meanwhile."""
    from p2p.commandline.demo import run_demo
    from p2p.formats import parse_size

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


if __name__ == "__main__":
    main()
