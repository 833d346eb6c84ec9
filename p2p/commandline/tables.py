"""Prints answers as tables: what peers share, search results, connected peers, and the state of this peer.

On a terminal, tables are ruled; elsewhere, columns are only aligned. On a terminal, a link is on its own line, so that
it can be copied whole. Names come from other peers, so they are escaped before they are printed.
"""

import shlex
import sys
import time
from typing import Literal

from p2p.commandline.terminal import count, note
from p2p.compute.answers import JobRow, LogRow
from p2p.control.answers import (
    DhtStatus,
    FetchRow,
    HitRow,
    LimitAnswer,
    ListedRow,
    PeerRow,
    ShareRow,
    StatusAnswer,
    TrackerStatus,
    VolunteerAnswer,
)
from p2p.formats import format_size, format_time
from p2p.ids import COMPARED_CHARS
from p2p.log import printable
from p2p.sharing.listing import Listing
from p2p.site.text import moment

_UNBROKEN = 16
"""How many columns of a terminal a cell may take and not be broken: ids, sizes, rates and dates are so short."""


def hits(rows: list[HitRow]) -> None:
    """`shoal search`."""
    if not rows:
        note("Nothing was found. Try fewer words, or other words.")
        return
    table(
        ["name", "size", "peers", "by", "link"],
        [[_named(row), format_size(row.bytes), str(row.peers), row.signer[:COMPARED_CHARS], row.link] for row in rows],
        right={1, 2},
        link=True,
    )


def listed(rows: list[ListedRow]) -> None:
    """`shoal browse`."""
    if not rows:
        note("This peer lists no shares.")
        return
    table(
        ["name", "size", "files", "link"],
        [[row.name, format_size(row.bytes), str(row.files), row.link] for row in rows],
        right={1, 2},
        link=True,
    )


def folder(listing: Listing) -> None:
    """`shoal ls`."""
    if not listing.rows:
        note("There is nothing in this folder.")
        return
    table(
        ["name", "size", "changed"],
        [
            [
                row.name + ("/" if row.kind == "folder" else ""),
                "" if row.size is None else format_size(row.size),
                "" if row.modified is None else moment(row.modified)[:16].replace("T", " "),
            ]
            for row in listing.rows
        ],
        right={1},
    )
    if listing.after is not None:
        note(f"There is more: go on with --after {shlex.quote(listing.after)}")


def answered(columns: list[str], rows: list[list[str]], numbers: set[int]) -> None:
    """`shoal sql`."""
    table([printable(column) for column in columns], rows, right=numbers, whole=True)


def fetches(rows: list[FetchRow]) -> None:
    """`shoal fetches`."""
    if not rows:
        note("There are no fetches. Begin one: shoal get LINK")
        return
    table(
        ["fetch", "name", "state", "done", "of", "rate", "sources", "where"],
        [
            [
                row.id[:8],
                row.name,
                row.doing if row.state == "running" else row.state,
                format_size(row.done),
                format_size(row.size) if row.size else "",
                f"{format_size(row.rate)}/s" if row.rate >= 1 else "",
                str(row.sources) if row.state == "running" else "",
                row.out,
            ]
            for row in rows
        ],
        right={3, 4, 5, 6},
    )
    for row in rows:
        if row.ending:
            note(f"{row.name} ({row.id[:8]}): {row.ending.splitlines()[0]}")
    if stopped := [row for row in rows if row.state in ("paused", "failed")]:
        note(f"To go on with {stopped[0].name}: shoal resume {stopped[0].id[:8]}")


def _named(row: HitRow) -> str:
    return f"{row.name} ({row.matched})" if row.matched else row.name


def shares(rows: list[ShareRow]) -> None:
    """`shoal shares`."""
    if not rows:
        note("This peer shares nothing yet. Share something: shoal share PATH")
        return
    table(
        ["id", "name", "size", "files", "peers", "state", "where"],
        [
            [
                row.id[:8],
                row.name,
                format_size(row.bytes),
                str(row.files),
                str(row.peers),
                _share_state(row),
                ", ".join(row.paths),
            ]
            for row in rows
        ],
        right={2, 3, 4},
    )
    for row in rows:
        for pointer in row.pointers:
            note(f"{row.name} is published as {pointer}")
        if row.stale:
            note(f"{row.name}: {row.stale}")
        if row.dht_full:
            note(
                f"{row.name}: the DHT has no room for it yet, so it is found only through trackers, the local network "
                "and links with this peer's address. This peer tries again."
            )


def peers(rows: list[PeerRow]) -> None:
    """`shoal peers`."""
    if not rows:
        note("Nobody is exchanging shares or working with this peer at the moment.")
        return
    table(
        ["peer", "address", "what", "sent", "received", "has all", "dialled by"],
        [
            [
                row.peer[:COMPARED_CHARS],
                f"{row.address} (cannot be dialled)" if row.dialable is False else row.address,
                _role(row),
                format_size(row.uploaded),
                format_size(row.downloaded),
                {True: "yes", False: "no", None: ""}[row.complete],
                "us" if row.dialed else "them",
            ]
            for row in rows
        ],
        right={3, 4},
    )


def _role(row: PeerRow) -> str:
    """What the other peer and this one have to do with each other."""
    match row.role:
        case "volunteer":
            return f"works for {row.name} ({row.job[:8]}), {count(row.cores, 'core')}"
        case "owner":
            return f"uses {count(row.cores, 'core')} here for its job {row.job[:8]}"
        case _:
            return f"share {row.share}"


def jobs(rows: list[JobRow]) -> None:
    """`shoal jobs`."""
    if not rows:
        note("This peer has no jobs. Start one: shoal run JOB")
        return
    table(
        ["job", "name", "begun", "state", "units", "units/s", "volunteers", "failed", "lost"],
        [
            [
                row.job[:8],
                row.name,
                time.strftime("%Y-%m-%d %H:%M", time.localtime(row.created)),
                row.why or row.state,
                *(
                    [
                        f"{row.units_done + row.units_known:,}",
                        f"{row.rate:,.1f}" if row.rate else "",
                        str(len(row.volunteers)),
                        str(row.failures or ""),
                        str(row.losses or ""),
                    ]
                    if row.runtime
                    else [""] * 5
                ),
            ]
            for row in rows
        ],
        right={4, 5, 6, 7, 8},
    )
    for row in rows:
        if row.state == "stopped":
            note(f"To resume {row.name}: shoal resume {row.job[:8]}")
        elif row.ending:
            note(f"{row.name} ({row.job[:8]}): {row.ending.splitlines()[0]}")


def logs(rows: list[LogRow]) -> None:
    """`shoal logs`."""
    if not rows:
        note("Nothing was printed.")
    for row in rows:
        failure = f", {printable(row.failure)}" if row.failure else ""
        print(f"{row.unit}, peer {row.peer[:8]}{failure}:")
        for line in row.text.splitlines():
            print(f"  {printable(line)}")
    sys.stdout.flush()


def volunteer(answer: VolunteerAnswer) -> None:
    """`shoal volunteer status`."""
    lent = [
        (f"lent to {row.owner[:8]}", f"{count(row.cores, 'core')}, {format_size(row.memory)}, {row.state}")
        for row in answer.lent
    ]
    if not answer.cores:
        labelled(
            [
                ("lends", "nothing more: paused" if answer.paused else "to the peers that `shoal cluster peers` shows"),
                *lent,
            ]
        )
        return
    offered = f"{count(answer.cores, 'core')}, {format_size(answer.memory_bytes)} each"
    if answer.unit_time_s:
        offered += f", for {format_time(answer.unit_time_s)} a unit at most"
    lines = [
        ("offers", "nothing: paused" if answer.paused else offered),
        *([] if answer.paused else [("runtimes", ", ".join(answer.runtimes) or "none ready yet")]),
        *([("compiling", f"{answer.compiling}, which may take minutes")] if answer.compiling else []),
        ("busy", f"{count(answer.busy, 'core')}, {count(len(answer.jobs), 'job')}"),
        *([("queued", count(answer.waiting, "job"))] if answer.waiting else []),
        ("units done", f"{answer.units_done:,}"),
        ("inputs kept", f"{format_size(answer.inputs_bytes)} of at most {format_size(answer.inputs_most_bytes)}"),
        ("isolation", answer.walls),
        *lent,
    ]
    labelled(lines)


def status(answer: StatusAnswer) -> None:
    """`shoal status`."""
    lines = [
        ("peer", answer.peer),
        ("home", answer.home),
        ("network", answer.network),
        ("listens at", ", ".join(answer.addresses)),
        ("dialable", _reachability(answer)),
        ("seen as", ", ".join(answer.seen_as) or "unknown: nobody has connected yet"),
        ("up for", format_time(answer.uptime_s)),
        ("memory", "unknown" if answer.memory_bytes is None else format_size(answer.memory_bytes)),
        ("shares", f"{answer.shares}, {format_size(answer.shared_bytes)}"),
        ("DHT", _dht(answer.dht)),
        *(("tracker", _tracker(tracker)) for tracker in answer.trackers),
        ("neighbours", str(answer.neighbours)),
        ("connections", str(answer.connections)),
        ("sent", format_size(answer.uploaded)),
        ("received", format_size(answer.downloaded)),
    ]
    for job in answer.jobs:
        done, units = sum(stage.done for stage in job.stages), sum(stage.units for stage in job.stages)
        at_work = count(len(job.volunteers), "volunteer")
        lines.append(("job", f"{job.name} ({job.job[:8]}): {done:,} of {units:,} units, {at_work}"))
    for fetch in answer.fetches:
        percent = 100 * fetch.done / fetch.size if fetch.size else 0
        lines.append(("fetching", f"{fetch.name}: {percent:.0f} %, {format_size(fetch.rate)}/s, {fetch.state}"))
    lines += [("stale", f"{name}: share it again") for name in answer.stale]
    if answer.bugs:
        lines.append(("errors", f"{answer.bugs:,} of Shoal's own: the peer's log has them, please report them"))
    labelled(lines)


def limits(answer: LimitAnswer) -> None:
    """`shoal limit`."""
    rates = [("upload", answer.upload), ("download", answer.download)]
    labelled([(key, f"{format_size(rate)}/s" if rate else "no limit") for key, rate in rates if rate is not None])
    if answer.saved is not None:
        note(f"Saved in {answer.saved}.")


def _dht(dht: DhtStatus | None) -> str:
    if dht is None:
        return "not taking part"
    if not dht.joined:
        return "no other node found yet; name one with --join HOST:PORT"
    known = f"{count(dht.nodes, 'node')} known, {count(dht.records, 'record')} kept for others"
    return f"{known}; no room for {count(dht.without_room, 'record')} of this peer" if dht.without_room else known


def _tracker(tracker: TrackerStatus) -> str:
    url = tracker.url
    if tracker.trouble:
        return f"{url}: {tracker.trouble}"
    if tracker.announced_s is None:
        return f"{url}: not announced yet"
    refused = f"; it refused {', '.join(tracker.refused)}" if tracker.refused else ""
    return f"{url}: has {count(tracker.shares, 'share')}, announced {format_time(tracker.announced_s)} ago{refused}"


def _reachability(answer: StatusAnswer) -> str:
    match answer.reachability:
        case "dialable":
            return f"yes, from {answer.reachable_from}"
        case "not dialable" if answer.reachability_set:
            return "no, by its settings. It exchanges data only over connections that it opens itself"
        case "not dialable":
            port = answer.addresses[0].rpartition(":")[2] if answer.addresses else "7474"
            return (
                f"not from {answer.reachable_from}: forward TCP port {port} of your router to this machine. "
                "Until then this peer exchanges data only over connections that it opens itself"
            )
        case _:
            return "unknown: nobody has tried yet"


def _share_state(row: ShareRow) -> str:
    words = [word for word in ("stale", "unlisted", "fetched") if getattr(row, word)]
    return ", ".join(words) or "ok"


def labelled(lines: list[tuple[str, str]]) -> None:
    """Prints a label and a value per line, made safe to print."""
    width = max(len(label) for label, _ in lines)
    for label, value in lines:
        print(f"{label:<{width}}  {printable(value)}")
    sys.stdout.flush()


def table(
    headings: list[str], rows: list[list[str]], right: set[int], *, link: bool = False, whole: bool = False
) -> None:
    """Prints a table, with rules on a terminal, otherwise with aligned columns.

    `link`: the last column is a link. A terminal is shown no empty columns, unless the table is to be `whole`.
    """
    from rich.cells import cell_len

    cells = [[printable(cell) for cell in row] for row in rows]
    links: list[str] = []
    if sys.stdout.isatty() and link:
        headings, links = headings[:-1], [row.pop() for row in cells]
    elif sys.stdout.isatty():
        from rich import box
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        console = Console(highlight=False)
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
        shown = [at for at in range(len(headings)) if whole or any(row[at] for row in cells)]
        widest = {at: max(cell_len(row[at]) for row in [headings, *cells]) for at in shown}
        fits = sum(min(width, _UNBROKEN) + 2 for width in widest.values()) <= console.width
        for at, width in widest.items():
            justify: Literal["left", "right"] = "right" if at in right else "left"
            # What may not be broken leaves the rest nothing if it takes all the space there is.
            table.add_column(headings[at], justify=justify, overflow="fold", no_wrap=fits and width <= _UNBROKEN)
        for row in cells:
            table.add_row(*(Text(row[at]) for at in shown))
        console.print(table)
        return
    widths = [max(cell_len(row[at]) for row in [headings, *cells]) for at in range(len(headings))]
    for number, row in enumerate([headings, *cells]):
        pieces = []
        for at, (cell, width) in enumerate(zip(row, widths, strict=True)):
            space = " " * (width - cell_len(cell))
            pieces.append(space + cell if at in right else cell + space)
        print("  ".join(pieces).rstrip())
        if links and number:
            print(links[number - 1])
    sys.stdout.flush()
