"""The program `shoal`: all commands as one command line. The contract is in docs/cli.md.

The commands are in the modules beside this one, except `tracker` and `demo`, which are here. Progress, notes
and warnings go to stderr; stdout carries the answer and nothing else.
"""

import io
import os
import sys
from functools import partial
from pathlib import Path

import click

from p2p import __version__
from p2p.commandline import files, jobs, peer, volunteering
from p2p.commandline.asking import FAILED
from p2p.commandline.options import PATH, CommandGroup, Global, json_output, listen, network_name


@click.group(cls=CommandGroup, context_settings={"show_default": True})
@click.option(
    "--home",
    metavar="PATH",
    envvar="SHOAL_HOME",
    show_envvar=True,
    type=PATH,
    help="This peer's folder: key, settings, database. Each home is a separate peer.",
)
@click.option("--verbose", "-v", is_flag=True, help="Log to stderr what is happening.")
@click.version_option(__version__, message="shoal %(version)s", help="Print the version, and exit.")
def app(home: Path | None, verbose: bool) -> None:
    """Share files with many people, and fetch them from many peers at once. Peers may fail or lie; what you receive is
    verified.
    """
    from p2p import config, log
    from p2p.paths import to_make

    Global.home = to_make(home or config.default_home())
    log.set_up(verbose=verbose)


for command in (
    peer.node,
    files.share,
    files.get,
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
    peer.config,
):
    app.add_command(command)


@app.command()
@listen
@click.option("--db", metavar="PATH", type=PATH, help="The database file. [default: tracker.db in the home]")
@click.option("--url", metavar="URL", help="The URL at which others reach this tracker.")
@click.option(
    "--proxy",
    metavar="IP",
    multiple=True,
    help="A reverse proxy in front of the tracker, which tells who its clients are; repeatable.",
)
@click.option(
    "--proxy-header",
    metavar="NAME",
    default="X-Forwarded-For",
    help="The header that it writes: X-Forwarded-For or Forwarded.",
)
@click.option(
    "--proxy-hops",
    metavar="N",
    type=click.IntRange(1, 16),
    default=1,
    help="How many proxies a request passes, one behind the other.",
)
@click.option(
    "--outside",
    metavar="IP",
    multiple=True,
    help="The public address of this tracker's own network: BitTorrent clients elsewhere are told it instead of the "
    "private addresses of those here; repeatable, for IPv6.",
)
@network_name
def tracker(
    listen: tuple[str, ...],
    db: Path | None,
    url: str | None,
    proxy: tuple[str, ...],
    proxy_header: str,
    proxy_hops: int,
    outside: tuple[str, ...],
    network: str | None,
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
@click.option("--size", metavar="SIZE", default="192MiB", help="Size of the large file that the demo shares.")
@json_output
def demo(size: str, as_json: bool) -> None:
    """Run a whole network on this machine, kill some of it, and check every result.

    A tracker runs, and peers find and fetch a share, and run a job, while some are killed.
    """
    from p2p.commandline.demo import run_demo
    from p2p.formats import parse_size

    sys.exit(run_demo(parse_size(size), as_json=as_json))


app.add_command(volunteering.volunteer)


def main() -> None:
    """Runs the command that was typed."""
    from p2p.errors import ShoalError

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # not every terminal can show every name
    try:
        with app.make_context("shoal", sys.argv[1:]) as context:
            app.invoke(context)
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except click.exceptions.NoArgsIsHelpError as nothing:
        print(nothing.format_message())
        sys.exit(nothing.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # The program that read our output has stopped reading.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(FAILED)
    except ShoalError as error:
        from p2p.log import explain

        sys.exit(explain(error))
