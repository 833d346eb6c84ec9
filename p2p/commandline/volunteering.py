"""Commands about what this peer offers to other people's jobs."""

from typing import NoReturn

import typer

from p2p.commandline.asking import either, perform
from p2p.commandline.options import Json

app = typer.Typer(help="What this peer offers of its computing power.", no_args_is_help=True)


@app.command()
def status(as_json: Json = False) -> None:
    """Say what it offers, and what it does."""
    _ask(None, as_json)


@app.command()
def pause(as_json: Json = False) -> None:
    """Finish what it has begun, and take no more."""
    _ask(True, as_json)


@app.command()
def resume(as_json: Json = False) -> None:
    """Take work again."""
    _ask(False, as_json)


def _ask(pause: bool | None, as_json: bool) -> NoReturn:
    from p2p.commandline import tables
    from p2p.control.protocol import VolunteerRequest

    perform(VolunteerRequest(pause=pause), None, either(as_json, tables.volunteer))
