"""Commands about files: to share them, to find and to fetch what others share."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from p2p.commandline.asking import NOBODY, as_text, either, perform, print_answer
from p2p.commandline.options import Json, networked

if TYPE_CHECKING:
    from p2p.config import Settings
    from p2p.control.answers import GetAnswer, ShareAnswer, UnshareAnswer


@networked
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
    from p2p.control.protocol import ShareRequest

    request = ShareRequest(
        paths=tuple(str(path.resolve()) for path in paths), name=name, unlisted=unlisted, pointer=pointer
    )

    def show(answer: "ShareAnswer") -> None:
        link = answer.pointer if isinstance(answer.pointer, str) else answer.link
        print_answer(as_text(answer) if as_json else link)
        from p2p.commandline import terminal

        terminal.shared(answer)

    perform(request, settings, show, stay=True)


@networked
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
    from p2p.control.protocol import GetRequest
    from p2p.formats import parse_size, parse_time
    from p2p.wire.link import parse_any_link, parse_peer

    parse_any_link(link)
    for text in peer or ():
        parse_peer(text)
    request = GetRequest(
        link=link,
        out=str(out.absolute()),
        peers=tuple(peer or ()),
        select=tuple(select or ()),
        sequential=sequential,
        overwrite=overwrite,
        wait_s=None if wait is None else parse_time(wait),
        limit_bytes_per_s=0 if limit is None else parse_size(limit),
    )

    def show(answer: "GetAnswer") -> None:
        from p2p.commandline import terminal

        terminal.fetched(answer)
        print_answer(as_text(answer) if as_json else "\n".join(answer.paths))

    again = "What was fetched is kept; the same command goes on from there."
    perform(request, settings, show, interrupted=again, nobody=NOBODY)


@networked
def search(
    words: Annotated[list[str], typer.Argument(metavar="WORDS...", help="All of them are in the name or the files.")],
    as_json: Json = False,
    *,
    settings: "Settings",
) -> None:
    """Find shares by words, over trackers, else over the DHT."""
    from p2p.commandline import tables
    from p2p.control.protocol import SearchRequest

    perform(SearchRequest(query=" ".join(words)), settings, either(as_json, tables.hits))


@networked
def browse(
    peer: Annotated[str, typer.Argument(metavar="PEER", help="A peer id, HOST:PORT, or both: ID@HOST:PORT.")],
    as_json: Json = False,
    *,
    settings: "Settings",
) -> None:
    """List what one peer shares."""
    from p2p.commandline import tables
    from p2p.control.protocol import BrowseRequest

    perform(BrowseRequest(peer=peer), settings, either(as_json, tables.listed))


def shares(as_json: Json = False) -> None:
    """List what this peer shares."""
    from p2p.commandline import tables
    from p2p.control.protocol import SharesRequest

    perform(SharesRequest(), {}, either(as_json, tables.shares))


def unshare(
    share_id: Annotated[str, typer.Argument(metavar="ID", help="The share's id, its beginning, or its link.")],
    as_json: Json = False,
) -> None:
    """Stop sharing; the files stay."""
    from p2p.commandline import terminal
    from p2p.control.protocol import UnshareRequest

    def show(answer: "UnshareAnswer") -> None:
        if as_json:
            print_answer(as_text(answer))
        terminal.note(f"{answer.name} is no longer shared; its files stay where they are.")

    perform(UnshareRequest(id=share_id), {}, show)
