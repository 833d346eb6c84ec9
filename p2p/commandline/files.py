"""Commands about files: to share them, and to find and fetch what others share."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from p2p.commandline.asking import (
    DONE,
    INCOMPLETE,
    NOBODY,
    as_text,
    either,
    for_people,
    perform,
    print_answer,
)
from p2p.commandline.options import PATH, json_output, networked

if TYPE_CHECKING:
    from p2p.config import Settings
    from p2p.control.answers import GetAnswer, ShareAnswer, UnshareAnswer


_exclude = click.option(
    "--exclude",
    metavar="PATTERN",
    multiple=True,
    help="Leave out what matches this, in the syntax of .gitignore; repeatable.",
)


@click.command()
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=PATH)
@click.option("--name", help="The share's name. [default: that of the first path]")
@click.option("--unlisted", is_flag=True, help="Only those with the link can find or get it.")
@click.option(
    "--as",
    "pointer",
    metavar="NAME",
    help="Publish as the newest version of NAME, and print a link that always leads to the newest.",
)
@_exclude
@click.option("--rehash", is_flag=True, help="Hash files again that seem unchanged.")
@click.option(
    "--times/--no-times",
    default=None,
    help="Keep the files' modification times, or not. [default: as when last shared, or else as configured]",
)
@json_output
@networked
def share(
    paths: tuple[Path, ...],
    name: str | None,
    unlisted: bool,
    pointer: str | None,
    exclude: tuple[str, ...],
    rehash: bool,
    times: bool | None,
    as_json: bool,
    settings: "Settings",
) -> None:
    """Share files or folders in place. Prints the link. If no peer is running, serves them until Ctrl-C.

    PATH is a file or folder; several make one share.
    """
    from p2p.control.protocol import ShareRequest
    from p2p.ignore import check_patterns
    from p2p.paths import resolved

    check_patterns(exclude)
    request = ShareRequest(
        paths=tuple(str(resolved(path)) for path in paths),
        name=name,
        unlisted=unlisted,
        pointer=pointer,
        exclude=tuple(pattern for pattern in exclude if pattern) if exclude else None,
        rehash=rehash,
        times=times,
    )

    def show(answer: "ShareAnswer") -> int:
        link = answer.pointer if isinstance(answer.pointer, str) else answer.link
        print_answer(as_text(answer) if as_json else for_people(link))
        from p2p.commandline import terminal

        terminal.shared(answer, listed=not unlisted)
        return INCOMPLETE if answer.skipped_count else DONE

    perform(request, settings, show, stay=True)


@click.command()
@click.argument("link", metavar="LINK")
@click.option("--out", metavar="DIR", default=".", type=PATH, help="Folder to save the files in.")
@click.option("--peer", metavar="HOST:PORT", multiple=True, help="A peer that may have the share; repeatable.")
@click.option("--select", metavar="GLOB", multiple=True, help="Fetch only paths that match this; repeatable.")
@_exclude
@click.option(
    "--names",
    metavar="map|skip|fail",
    type=click.Choice(["map", "skip", "fail"]),
    default="map",
    help="Files that cannot have their names here: give them others, leave them out, or fetch nothing.",
)
@click.option(
    "--trust-names", is_flag=True, help="Keep names that make programs run what they hold, such as .git and .envrc."
)
@click.option("--sequential", is_flag=True, help="Fetch in order, so that you can view it while it arrives.")
@click.option("--overwrite", is_flag=True, help="Replace existing files that differ.")
@click.option("--into-existing", is_flag=True, help="Put the files into a folder even if it was not made by this.")
@click.option(
    "--wait", metavar="TIME", help="Stop after this long without any peer that has the share. [default: never]"
)
@click.option("--limit", metavar="RATE", help="Maximum rate in bytes per second, such as 10MiB.")
@json_output
@networked
def get(
    link: str,
    out: Path,
    peer: tuple[str, ...],
    select: tuple[str, ...],
    exclude: tuple[str, ...],
    names: Literal["map", "skip", "fail"],
    trust_names: bool,
    sequential: bool,
    overwrite: bool,
    into_existing: bool,
    wait: str | None,
    limit: str | None,
    as_json: bool,
    settings: "Settings",
) -> None:
    """Fetch a share from all peers that have it, and verify every chunk. Resumes where an earlier attempt stopped.

    LINK is a link (shoal:s/... or shoal:m/...), or a share's id.
    """
    from p2p.control.protocol import GetRequest
    from p2p.errors import ConfigError
    from p2p.formats import parse_rate, parse_time
    from p2p.ignore import check_patterns
    from p2p.paths import to_make
    from p2p.wire.link import parse_any_link, parse_peer

    parse_any_link(link)
    check_patterns(exclude)
    for option, texts in (("--select", select), ("--exclude", exclude)):
        if not all(texts):
            raise ConfigError(f"{option} is empty. Leave it out, or give it what it is to match.")
    for text in peer:
        parse_peer(text)
    request = GetRequest(
        link=link,
        out=str(to_make(out)),
        peers=peer,
        select=select,
        exclude=exclude,
        names=names,
        trust_names=trust_names,
        into_existing=into_existing,
        sequential=sequential,
        overwrite=overwrite,
        wait_s=None if wait is None else parse_time(wait),
        limit_bytes_per_s=0 if limit is None else parse_rate(limit),
    )

    def show(answer: "GetAnswer") -> int:
        from p2p.commandline import terminal

        terminal.fetched(answer)
        print_answer(as_text(answer) if as_json else "\n".join(answer.paths))
        return INCOMPLETE if answer.skipped_count else DONE

    again = "What was fetched is kept; the same command resumes from there."
    perform(request, settings, show, interrupted=again, nobody=NOBODY)


@click.command()
@click.argument("words", metavar="WORDS...", nargs=-1, required=True)
@json_output
@networked
def search(words: tuple[str, ...], as_json: bool, settings: "Settings") -> None:
    """Find shares by words: asks trackers, or the DHT if no tracker answers.

    All WORDS must be in the share's name or (trackers only) its file names.
    """
    from p2p.commandline import tables
    from p2p.control.protocol import SearchRequest

    perform(SearchRequest(query=" ".join(words)), settings, either(as_json, tables.hits))


@click.command()
@click.argument("peer", metavar="PEER")
@json_output
@networked
def browse(peer: str, as_json: bool, settings: "Settings") -> None:
    """List what another peer shares.

    PEER is a peer id, HOST:PORT, ID@HOST:PORT, or a mutable link.
    """
    from p2p.commandline import tables
    from p2p.control.protocol import BrowseRequest

    perform(BrowseRequest(peer=peer), settings, either(as_json, tables.listed))


@click.command()
@json_output
def shares(as_json: bool) -> None:
    """List what this peer shares."""
    from p2p.commandline import tables
    from p2p.control.protocol import SharesRequest

    perform(SharesRequest(), {}, either(as_json, tables.shares))


@click.command()
@click.argument("share_id", metavar="ID")
@json_output
def unshare(share_id: str, as_json: bool) -> None:
    """Stop sharing a share; its files stay where they are.

    ID is the share's id, the beginning of it, or the link.
    """
    from p2p.commandline import terminal
    from p2p.control.protocol import UnshareRequest

    def show(answer: "UnshareAnswer") -> None:
        if as_json:
            print_answer(as_text(answer))
        terminal.note(f"{answer.name} is no longer shared; its files stay where they are.")

    perform(UnshareRequest(id=share_id), {}, show)
