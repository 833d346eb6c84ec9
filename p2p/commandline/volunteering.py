"""Commands about the computing power that this peer offers for other people's jobs."""

from typing import Annotated, NoReturn

import typer

from p2p.commandline.asking import either, perform
from p2p.commandline.options import Json

app = typer.Typer(help="See and control the computing power that this peer offers.", no_args_is_help=True)


@app.command()
def status(as_json: Json = False) -> None:
    """Show what this peer offers, and what it is working on."""
    _ask(None, as_json)


@app.command()
def pause(
    now: Annotated[bool, typer.Option("--now", help="End the units that are running, at once.")] = False,
    as_json: Json = False,
) -> None:
    """Stop taking work. Work already begun will be completed, unless --now is given."""
    _ask(True, as_json, now=now)


@app.command()
def resume(as_json: Json = False) -> None:
    """Take work again after a pause."""
    _ask(False, as_json)


def _ask(pause: bool | None, as_json: bool, *, now: bool = False) -> NoReturn:
    from p2p.commandline import tables
    from p2p.control.protocol import VolunteerRequest

    perform(VolunteerRequest(pause=pause, now=now), None, either(as_json, tables.volunteer))
