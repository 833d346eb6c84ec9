"""Commands about the computing power that this peer offers for other people's jobs."""

from typing import NoReturn

import click

from p2p.commandline.asking import either, perform
from p2p.commandline.options import CommandGroup, json_output


@click.group(cls=CommandGroup)
def volunteer() -> None:
    """See and control the computing power that this peer offers."""


@volunteer.command()
@json_output
def status(as_json: bool) -> None:
    """Show what this peer offers, and what it is working on."""
    _ask(None, as_json)


@volunteer.command()
@click.option("--now", is_flag=True, help="End the units that are running, at once.")
@json_output
def pause(now: bool, as_json: bool) -> None:
    """Stop taking work. Work already begun will be completed, unless --now is given."""
    _ask(True, as_json, now=now)


@volunteer.command()
@json_output
def resume(as_json: bool) -> None:
    """Take work again after a pause."""
    _ask(False, as_json)


def _ask(pause: bool | None, as_json: bool, *, now: bool = False) -> NoReturn:
    from p2p.commandline import tables
    from p2p.control.protocol import VolunteerRequest

    perform(VolunteerRequest(pause=pause, now=now), None, either(as_json, tables.volunteer))
