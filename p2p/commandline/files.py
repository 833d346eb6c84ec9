"""Commands about files: to share them, and to find and fetch what others share."""

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import unquote

import typer

from p2p.commandline import fetches
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
from p2p.commandline.options import Json, as_path, networked

Exclude = Annotated[
    list[str] | None,
    typer.Option(metavar="PATTERN", help="Leave out what matches this, in the syntax of .gitignore; repeatable."),
]

if TYPE_CHECKING:
    from p2p.config import Settings
    from p2p.control.answers import ShareAnswer, UnshareAnswer


@networked
def share(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH", help="Files or folders; several make one share.", parser=as_path)
    ],
    name: Annotated[str | None, typer.Option(help="The share's name. \\[default: that of the first path]")] = None,
    unlisted: Annotated[bool, typer.Option("--unlisted", help="Only those with the link can find or get it.")] = False,
    pointer: Annotated[
        str | None,
        typer.Option(
            "--as",
            metavar="NAME",
            help="Publish as the newest version of NAME, and print a link that always leads to the newest.",
        ),
    ] = None,
    exclude: Exclude = None,
    rehash: Annotated[bool, typer.Option("--rehash", help="Hash files again that seem unchanged.")] = False,
    times: Annotated[
        bool | None,
        typer.Option(
            "--times/--no-times",
            show_default=False,
            help="Keep the files' modification times, or not. \\[default: as when last shared, or else as configured]",
        ),
    ] = None,
    links: Annotated[
        bool | None,
        typer.Option(
            "--links/--no-links",
            show_default=False,
            help="Keep symbolic links that lead to something in the same share, or not. \\[default: as when last "
            "shared, or else not]",
        ),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Do not ask whether a path that usually holds secrets is meant.")
    ] = False,
    as_json: Json = False,
    *,
    settings: "Settings",
) -> None:
    """Share files or folders in place. Prints the link. If no peer is running, serves them until Ctrl-C."""
    from p2p.control.protocol import ShareRequest
    from p2p.ignore import check_patterns
    from p2p.paths import resolved

    check_patterns(exclude or ())
    real = [resolved(path) for path in paths]
    request = ShareRequest(
        paths=tuple(map(str, real)),
        name=name,
        unlisted=unlisted,
        pointer=pointer,
        exclude=None if exclude is None else tuple(pattern for pattern in exclude if pattern),
        rehash=rehash,
        times=times,
        links=links,
        sure=yes or _are_meant(real),
    )

    def show(answer: "ShareAnswer") -> int:
        link = answer.pointer if isinstance(answer.pointer, str) else answer.link
        print_answer(as_text(answer) if as_json else for_people(link))
        from p2p.commandline import terminal

        terminal.shared(answer, listed=not unlisted)
        return INCOMPLETE if answer.skipped_count else DONE

    perform(request, settings, show, stay=True)


def _are_meant(paths: list[Path]) -> bool:
    """Has the user type the name of each path that probably holds secrets. Returns whether all were typed.

    Where nobody can be asked, nothing is meant.
    """
    from p2p.homes import doubt

    for path in paths:
        if (why := doubt(path)) is not None:
            if not (sys.stdin.isatty() and sys.stderr.isatty()):
                return False
            name = path.name or str(path)
            asked = f"{path} {why}. To share it all the same, type its name, {name}"
            if typer.prompt(asked, err=True, default="", show_default=False) != name:
                return False
    return True


@networked
def get(
    link: Annotated[str, typer.Argument(metavar="LINK", help="A link (shoal:s/... or shoal:m/...), or a share's id.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder to save the files in.", parser=as_path)] = Path(),
    peer: Annotated[
        list[str] | None, typer.Option(metavar="HOST:PORT", help="A peer that may have the share; repeatable.")
    ] = None,
    select: Annotated[
        list[str] | None, typer.Option(metavar="GLOB", help="Fetch only paths that match this; repeatable.")
    ] = None,
    exclude: Exclude = None,
    names: Annotated[
        Literal["map", "skip", "fail"],
        typer.Option(
            metavar="map|skip|fail",
            help="Files that cannot have their names here: give them others, leave them out, or fetch nothing.",
        ),
    ] = "map",
    trust_names: Annotated[
        bool,
        typer.Option(
            "--trust-names", help="Keep names that make programs run what they hold, such as .git and .envrc."
        ),
    ] = False,
    sequential: Annotated[
        bool, typer.Option("--sequential", help="Fetch in order, so that you can view it while it arrives.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing files that differ.")] = False,
    into_existing: Annotated[
        bool, typer.Option("--into-existing", help="Put the files into a folder even if it was not made by this.")
    ] = False,
    wait: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="Stop after this long without any peer that has the share. \\[default: never]"
        ),
    ] = None,
    limit: Annotated[
        str | None, typer.Option(metavar="RATE", help="Maximum rate in bytes per second, such as 10MiB.")
    ] = None,
    background: fetches.Background = False,
    as_json: Json = False,
    *,
    settings: "Settings",
) -> None:
    """Fetch a share from all peers that have it, and verify every chunk. Resumes where an earlier attempt stopped."""
    from p2p.control.fetch_ids import id_of
    from p2p.control.protocol import BackgroundRequest, GetRequest
    from p2p.errors import ConfigError
    from p2p.formats import parse_rate, parse_time
    from p2p.ids import short
    from p2p.ignore import check_patterns
    from p2p.paths import to_make
    from p2p.wire.link import parse_any_link, parse_peer

    parse_any_link(link)
    check_patterns(exclude or ())
    for option, texts in (("--select", select), ("--exclude", exclude)):
        if not all(texts or ("all",)):
            raise ConfigError(f"{option} is empty. Leave it out, or give it what it is to match.")
    for text in peer or ():
        parse_peer(text)
    request = GetRequest(
        link=link,
        out=str(to_make(out)),
        peers=tuple(peer or ()),
        select=tuple(select or ()),
        exclude=tuple(exclude or ()),
        names=names,
        trust_names=trust_names,
        into_existing=into_existing,
        sequential=sequential,
        overwrite=overwrite,
        wait_s=None if wait is None else parse_time(wait),
        limit_bytes_per_s=0 if limit is None else parse_rate(limit),
    )

    if background:
        begun = partial(fetches.begun, as_json=as_json)
        perform(BackgroundRequest(request=request), None, begun)
    again = f"What was fetched is kept: `shoal resume {short(id_of(request))}`, or the same command, goes on with it."
    perform(request, settings, partial(fetches.fetched, as_json=as_json), interrupted=again, nobody=NOBODY)


Link = Annotated[str, typer.Argument(metavar="LINK", help="A link (shoal:s/... or shoal:m/...), or a share's id.")]
Peers = Annotated[
    list[str] | None, typer.Option("--peer", metavar="HOST:PORT", help="A peer that may have the share; repeatable.")
]
Wait = Annotated[
    str | None, typer.Option(metavar="TIME", help="Stop after nothing came for this long. \\[default: 10 minutes]")
]


@networked
def ls(
    link: Link,
    path: Annotated[str, typer.Argument(metavar="[PATH]", help="A folder or file of the share.")] = "",
    after: Annotated[str, typer.Option(metavar="NAME", help="Go on after this name, in a long folder.")] = "",
    peers: Peers = None,
    wait: Wait = None,
    as_json: Json = False,
    *,
    settings: "Settings",
) -> None:
    """List a folder of a share. No file is fetched for that."""
    from p2p.commandline import tables
    from p2p.control.protocol import ListRequest

    request = ListRequest(after=after, **_reading(link, path, peers, wait))
    perform(request, settings, either(as_json, tables.folder), nobody=NOBODY)


@networked
def cat(
    link: Link,
    path: Annotated[str, typer.Argument(metavar="PATH", help="A file of the share, unless LINK has its path.")] = "",
    peers: Peers = None,
    wait: Wait = None,
    *,
    settings: "Settings",
) -> None:
    """Write a file of a share to stdout, fetching only what is needed for that."""
    from p2p.control.protocol import CatRequest

    request = CatRequest(**_reading(link, path, peers, wait))
    perform(request, settings, lambda _: DONE, nobody=NOBODY)


def _reading(link: str, path: str, peers: list[str] | None, wait: str | None) -> dict[str, Any]:
    """What every request to read from a share says. Raises ConfigError for what makes no sense."""
    from p2p.control.protocol import READ_WAIT_S
    from p2p.formats import parse_time
    from p2p.wire.link import parse_any_link, parse_peer, parse_url

    if (url := parse_url(link)) is not None:
        link, path = str(url.link), "/".join(filter(None, (unquote(url.path), path)))
    else:
        parse_any_link(link)
    for text in peers or ():
        parse_peer(text)
    wait_s = READ_WAIT_S if wait is None else parse_time(wait)
    return {"link": link, "path": path, "peers": tuple(peers or ()), "wait_s": wait_s}


@networked
def search(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="WORDS...", help="Words that must all be in the share's name or (trackers only) its file names."
        ),
    ],
    as_json: Json = False,
    *,
    settings: "Settings",
) -> None:
    """Find shares by words: asks trackers, or the DHT if no tracker answers."""
    from p2p.commandline import tables
    from p2p.control.protocol import SearchRequest

    perform(SearchRequest(query=" ".join(words)), settings, either(as_json, tables.hits))


@networked
def browse(
    peer: Annotated[str, typer.Argument(metavar="PEER", help="A peer id, HOST:PORT, ID@HOST:PORT, or a mutable link.")],
    as_json: Json = False,
    *,
    settings: "Settings",
) -> None:
    """List what another peer shares."""
    from p2p.commandline import tables
    from p2p.control.protocol import BrowseRequest

    perform(BrowseRequest(peer=peer), settings, either(as_json, tables.listed))


def shares(as_json: Json = False) -> None:
    """List what this peer shares."""
    from p2p.commandline import tables
    from p2p.control.protocol import SharesRequest

    perform(SharesRequest(), {}, either(as_json, tables.shares))


def unshare(
    share_id: Annotated[str, typer.Argument(metavar="ID", help="The share's id, the beginning of it, or the link.")],
    as_json: Json = False,
) -> None:
    """Stop sharing a share; its files stay where they are."""
    from p2p.commandline import terminal
    from p2p.control.protocol import UnshareRequest

    def show(answer: "UnshareAnswer") -> None:
        if as_json:
            print_answer(as_text(answer))
        terminal.note(f"{answer.name} is no longer shared; its files stay where they are.")

    perform(UnshareRequest(id=share_id), {}, show)
