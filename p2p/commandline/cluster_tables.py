"""Prints answers about clusters. What members said is only shown."""

from p2p.cluster.answers import ClusterRow, ClustersAnswer, LentRow, ListsAnswer
from p2p.commandline.tables import labelled, table
from p2p.commandline.terminal import count, note
from p2p.formats import format_size, format_time


def lists(answer: ListsAnswer) -> None:
    """`shoal cluster peers`, `allow` and `trust`."""
    if answer.trouble:
        note(f"This machine can have no member of a cluster yet. {answer.trouble}")
    if not (answer.allow or answer.trust):
        note(
            "This peer lends to nobody, and takes nobody into a cluster. "
            "List peers with: shoal cluster allow PEER, shoal cluster trust PEER"
        )
        return
    both = set(answer.allow) & set(answer.trust)
    says = dict.fromkeys(answer.allow, "lends to it") | dict.fromkeys(answer.trust, "takes it as a member")
    table(["peer", "this peer"], [[peer, "does both" if peer in both else says[peer]] for peer in says], set())


def started(row: ClusterRow) -> None:
    """`shoal cluster start`."""
    workers = len(row.members) - 1
    lines = [
        ("cluster", f"{row.name}, {count(workers, 'member')} besides this machine, {row.state}"),
        *((address.what, address.url) for address in row.addresses),
        *([("keys", row.keys)] if row.addresses else []),
        *([("missing", row.missing)] if row.missing else []),
    ]
    labelled(lines)


def scaled(row: ClusterRow, members: int) -> None:
    """`shoal cluster scale`, which does not wait for those that join."""
    started(row)
    if (more := members - (len(row.members) - 1)) > 0:
        note(f"{count(more, 'more member')} will join as soon as peers lend them: see `shoal cluster list`.")
    elif more < 0:
        note(f"{count(-more, 'member')} will leave.")


def clusters(answer: ClustersAnswer) -> None:
    """`shoal cluster list`."""
    if not answer.clusters and not answer.lent:
        note("There is no cluster, and nothing is lent. Start one: shoal cluster start dask --members 2")
    for row in answer.clusters:
        started(row)
        table(
            ["member", "peer", "state", "cores", "memory"],
            [
                [f"m{one.index}", one.peer[:8], one.state, str(one.cores), format_size(one.memory)]
                for one in row.members
            ],
            {3, 4},
        )
    if answer.lent:
        table(["lent to", "state", "cores", "memory", "disk", "for"], [_lent(row) for row in answer.lent], {2, 3, 4})
    if answer.trouble:
        note(answer.trouble)


def _lent(row: LentRow) -> list[str]:
    sizes = [format_size(row.memory), format_size(row.disk)]
    return [row.owner[:8], row.state, str(row.cores), *sizes, format_time(row.age_s)]
