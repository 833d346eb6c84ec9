"""Commands that a fetch and a job have in common: to pause it, to go on with it, and to forget it."""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from p2p.commandline import fetches, jobs
from p2p.commandline.asking import DONE, NOBODY, as_text, perform, print_answer
from p2p.commandline.fetches import Background
from p2p.commandline.options import Json, networked

if TYPE_CHECKING:
    from p2p.config import Settings
    from p2p.control.answers import Errand, RemovedErrand, WentOn

Id = Annotated[str, typer.Argument(metavar="ID", help="The id of a fetch or a job, or the beginning of it.")]


def pause(errand: Id, as_json: Json = False) -> None:
    """Stop a fetch or a job until it is resumed."""
    from p2p.control.protocol import PauseRequest

    perform(PauseRequest(id=errand), {}, _said("is {state}: `shoal resume {id}` goes on with it", as_json))


@networked
def resume(
    errand: Id,
    peer: Annotated[
        list[str] | None,
        typer.Option(metavar="HOST:PORT", help="A peer that may have the share, or a volunteer to ask; repeatable."),
    ] = None,
    background: Background = False,
    as_json: Json = False,
    *,
    settings: "Settings",
) -> None:
    """Go on with a fetch or a job that was stopped, or a fetch that has failed."""
    from p2p.control.protocol import GoOnRequest
    from p2p.wire.link import parse_peer

    def show(answer: "WentOn") -> int:
        if answer.fetch is not None:
            return fetches.fetched(answer.fetch, as_json=as_json)
        if answer.job is not None:
            jobs.shown(as_json, answer.job)
            return DONE
        return fetches.begun(answer.errand, as_json=as_json)

    for text in peer or ():
        parse_peer(text)
    request = GoOnRequest(id=errand, background=background, peers=tuple(peer or ()))
    again = f"`shoal resume {errand}` goes on with it."
    perform(request, None if background else settings, show, interrupted=again, nobody=NOBODY)


def remove(
    errand: Id,
    delete_files: Annotated[
        bool, typer.Option("--delete-files", help="Delete its finished files too, unless they were changed.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before finished files are deleted.")] = False,
    as_json: Json = False,
) -> None:
    """Forget a fetch, and delete what it has not finished; or a job. Finished files stay."""
    from p2p.control.protocol import RemoveRequest
    from p2p.errors import ConfigError

    if delete_files and not yes:
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise ConfigError("--delete-files deletes finished files. Where nobody can be asked, add --yes.")
        if not typer.confirm(f"Delete the files that fetch {errand} has finished?", err=True):
            raise typer.Exit(1)

    def show(answer: "RemovedErrand") -> None:
        from p2p.commandline import terminal

        said = f"{answer.errand.kind.capitalize()} {answer.errand.id[:8]} ({answer.errand.name}) is removed"
        counts = [(answer.part_files, "unfinished"), (answer.files, "finished")]
        deleted = " and ".join(f"{terminal.count(number, f'{what} file')}" for number, what in counts if number)
        terminal.note(f"{said}; {deleted} deleted." if deleted else f"{said}.")
        if answer.changed:
            terminal.note(f"{terminal.count(answer.changed, 'file')} stay: they are not as they were fetched.")
        if as_json:
            print_answer(as_text(answer))

    perform(RemoveRequest(id=errand, delete_files=delete_files), {}, show)


def _said(what: str, as_json: bool) -> Callable[["Errand"], None]:
    def show(errand: "Errand") -> None:
        from p2p.commandline import terminal

        if as_json:
            print_answer(as_text(errand))
        short = errand.id[:8]
        named = f" ({errand.name})" if errand.name else ""
        terminal.note(f"{errand.kind.capitalize()} {short}{named} {what.format(id=short, state=errand.state)}.")

    return show
