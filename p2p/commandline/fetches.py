"""Commands about fetches as things of their own: to list and follow them, and to pause, resume and remove them."""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from p2p.commandline.asking import DONE, INCOMPLETE, NOBODY, as_text, either, perform, print_answer
from p2p.commandline.options import Json, networked

if TYPE_CHECKING:
    from p2p.config import Settings
    from p2p.control.answers import Errand, GetAnswer, RemovedErrand, WentOn

Id = Annotated[str, typer.Argument(metavar="ID", help="The id of a fetch, or the beginning of it.")]
Background = Annotated[
    bool,
    typer.Option("--background", help="Return at once: the running node goes on with it, and Ctrl-C ends nothing."),
]


def fetches(
    follow: Annotated[
        str | None, typer.Option(metavar="ID", help="Wait for the end of this fetch; Ctrl-C does not stop it.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List the fetches of this peer: under way, paused, failed, and recently done."""
    from p2p.commandline import tables
    from p2p.control.protocol import FetchesRequest, FollowRequest

    if follow is None:
        perform(FetchesRequest(), {}, either(as_json, tables.fetches))

    def show(answer: "GetAnswer") -> int:
        return fetched(answer, as_json=as_json)

    perform(FollowRequest(id=follow), {}, show, interrupted="The fetch goes on.", nobody=NOBODY)


def pause(fetch: Id, as_json: Json = False) -> None:
    """Stop a fetch until it is resumed."""
    from p2p.control.protocol import PauseRequest

    perform(PauseRequest(id=fetch), {}, _said("is paused: `shoal resume {id}` goes on with it", as_json))


@networked
def resume(fetch: Id, background: Background = False, as_json: Json = False, *, settings: "Settings") -> None:
    """Go on with a fetch that was paused or has failed."""
    from p2p.control.protocol import GoOnRequest

    def show(answer: "WentOn") -> int:
        if answer.fetch is not None:
            return fetched(answer.fetch, as_json=as_json)
        return begun(answer.errand, as_json=as_json)

    request = GoOnRequest(id=fetch, background=background)
    again = f"It is paused: `shoal resume {fetch}` goes on with it."
    perform(request, None if background else settings, show, interrupted=again, nobody=NOBODY)


def remove(
    fetch: Id,
    delete_files: Annotated[
        bool, typer.Option("--delete-files", help="Delete its finished files too, unless they were changed.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before finished files are deleted.")] = False,
    as_json: Json = False,
) -> None:
    """Forget a fetch, and delete what it has not finished. Finished files stay."""
    from p2p.control.protocol import RemoveRequest
    from p2p.errors import ConfigError

    if delete_files and not yes:
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise ConfigError("--delete-files deletes finished files. Where nobody can be asked, add --yes.")
        if not typer.confirm(f"Delete the files that fetch {fetch} has finished?", err=True):
            raise typer.Exit(1)

    def show(answer: "RemovedErrand") -> None:
        from p2p.commandline import terminal

        said = f"Fetch {answer.errand.id[:8]} ({answer.errand.name}) is removed"
        counts = [(answer.part_files, "unfinished"), (answer.files, "finished")]
        deleted = " and ".join(f"{terminal.count(number, f'{what} file')}" for number, what in counts if number)
        terminal.note(f"{said}; {deleted} deleted." if deleted else f"{said}.")
        if answer.changed:
            terminal.note(f"{terminal.count(answer.changed, 'file')} stay: they are not as they were fetched.")
        if as_json:
            print_answer(as_text(answer))

    perform(RemoveRequest(id=fetch, delete_files=delete_files), {}, show)


def fetched(answer: "GetAnswer", *, as_json: bool) -> int:
    """Shows the outcome of a fetch. Returns the exit code."""
    from p2p.commandline import terminal

    terminal.fetched(answer)
    print_answer(as_text(answer) if as_json else "\n".join(answer.paths))
    return INCOMPLETE if answer.skipped_count else DONE


def begun(errand: "Errand", *, as_json: bool) -> int:
    """Shows what runs in the background now. Returns the exit code."""
    from p2p.commandline import terminal

    short, listing = errand.id[:8], "fetches" if errand.kind == "fetch" else "jobs"
    print_answer(as_text(errand) if as_json else errand.id)
    terminal.note(
        f"{errand.kind} {short} runs in the background: `shoal {listing} --follow {short}` shows how far it is"
    )
    return DONE


def _said(what: str, as_json: bool) -> Callable[["Errand"], None]:
    def show(errand: "Errand") -> None:
        from p2p.commandline import terminal

        if as_json:
            print_answer(as_text(errand))
        short = errand.id[:8]
        named = f" ({errand.name})" if errand.name else ""
        terminal.note(f"{errand.kind.capitalize()} {short}{named} {what.format(id=short)}.")

    return show
