"""The command about fetches as things of their own, and what commands say of a fetch."""

from typing import TYPE_CHECKING, Annotated

import typer

from p2p.commandline.asking import DONE, INCOMPLETE, NOBODY, as_text, either, perform, print_answer
from p2p.commandline.options import Json

if TYPE_CHECKING:
    from p2p.control.answers import Errand, GetAnswer

Id = Annotated[str, typer.Argument(metavar="ID", help="The id of a fetch or a job, or the beginning of it.")]
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
