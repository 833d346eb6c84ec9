"""Every bounded place is made by `p2p.places`, is listed in docs/threats.md with its rule, and has its test.

A module-level constant that begins with MAX_ bounds a place, and then the list there names it; or it bounds something
else, and then it is listed here, with what that is. Sizes, times and depths say so by their names.
"""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from p2p import places

ROOT = Path(__file__).parents[2]
KINDS = {"Places", "Seats"}
SIZES = re.compile(r"_(BYTES|CHARS|S|NS|DEPTH|DIGITS|TEXT|QUANTA|COPIES|SEED|BYTES_PER_ADDRESS|BYTES_IN_MEMORY)$")
ROW = re.compile(r"\| (?P<name>[a-z ]+) \| (?P<bound>[^|]+) \| (?P<rule>[^|]+) \| `(?P<test>[^|`]+)` \|")
NO_PLACES = {
    "p2p/wire/": "what one message, record or link has",
    "p2p/jobs/": "what one job is made of",
    "p2p/store/": "this peer's own disk and its user's files",
    "p2p/sandbox/": "one guest, or guests that are kept",
    "p2p/commandline/": "what is printed",
    "p2p/client/": "what one program keeps",
    "p2p/control/": "what is printed, and the user's own commands",
    "p2p/advertising/": "one announcement",
    "p2p/concurrency/": "kinds of bugs that are counted",
    "p2p/core/compute/crew.py": "one volunteer's faults; what is remembered, the oldest goes first",
    "p2p/core/compute/disputes.py": "one unit's tries",
    "p2p/core/compute/matching.py": "units ahead of one volunteer",
    "p2p/core/compute/partitions.py": "one job",
    "p2p/core/compute/plan.py": "one job",
    "p2p/core/compute/skipped.py": "what is told of one job",
    "p2p/core/compute/waiting_queue.py MAX_PER_OWNER": "one owner's own places",
    "p2p/environments/": "one environment of this user, or one description",
    "p2p/core/bans.py": "what is remembered, the oldest goes first",
    "p2p/core/shares/": "one fetch or one manifest",
    "p2p/core/dht/admission.py": "tokens per network, in `TokenBuckets`",
    "p2p/core/dht/density.py": "what is remembered of this node's own searches",
    "p2p/core/dht/lookup.py": "one search",
    "p2p/core/dht/publications.py": "what this peer publishes",
    "p2p/core/dht/recordstore.py": "records, shared out among networks in `p2p.crowds`",
    "p2p/core/dht/routing.py": "nodes of one network in a bucket",
    "p2p/core/dht/timing.py": "opinions of one network each",
    "p2p/compute/bundles.py": "one job",
    "p2p/compute/requirements.py": "one job",
    "p2p/compute/wheels.py": "one job",
    "p2p/compute/execution/": "one job or one guest",
    "p2p/compute/owner/planner.py": "one job",
    "p2p/compute/owner/queueing.py": "how often one volunteer calls",
    "p2p/compute/owner/recruiter.py MAX_LINES": "lines in which this peer waits itself",
    "p2p/compute/owner/recruiter.py MAX_QUICK_RETRIES": "how often one is asked",
    "p2p/compute/owner/recruiter.py MAX_REMEMBERED": "what is remembered",
    "p2p/compute/owner/recruiter.py MAX_VOLUNTEERS": "volunteers that this peer hires itself",
    "p2p/compute/owner/volunteer_session.py": "messages of one volunteer",
    "p2p/compute/volunteer/owner_search.py": "calls that this peer makes",
    "p2p/compute/volunteer/slots.py": "one guest",
    "p2p/compute/volunteer/volunteering.py": "jobs that get this peer's cores; owners take turns by time",
    "p2p/cluster/clusters.py": "clusters of this peer's own user",
    "p2p/cluster/lending.py": "owners that the user has listed",
    "p2p/cluster/lists.py": "what the user has listed",
    "p2p/cluster/member.py": "one member",
    "p2p/cluster/spec.py": "one cluster",
    "p2p/discovery/browse.py": "one answer",
    "p2p/discovery/dht.py": "what is remembered, the oldest goes first",
    "p2p/discovery/finders.py": "one link",
    "p2p/discovery/neighbours.py": "the local network; shared out by host, and invented ones displace no real one",
    "p2p/discovery/pointers.py": "one search",
    "p2p/discovery/search.py": "one search",
    "p2p/discovery/volunteers.py": "one search",
    "p2p/formats.py": "what is printed",
    "p2p/gateway/": "the user's own programs",
    "p2p/site/": "one name, or one drawing",
    "p2p/web/": "the user's own programs",
    "p2p/ignore.py": "one file",
    "p2p/paths.py": "one path",
    "p2p/progress.py": "what is printed",
    "p2p/net/datagrams.py": "one turn, or one question",
    "p2p/net/dht.py": "what this node asks, and what is remembered, the oldest goes first",
    "p2p/net/handshakes.py": "tokens and last turns per network; what is oldest goes first",
    "p2p/net/http.py": "what this peer asks itself",
    "p2p/net/http_server/connections.py MAX_PER_ADDRESS": "one address's own connections",
    "p2p/net/lan.py": "the local network; the one heard of least lately goes first",
    "p2p/net/multicast.py": "interfaces of this machine",
    "p2p/net/lookups.py": "one search of this node",
    "p2p/net/listener.py MAX_UNPROVEN": "handshakes, shared out among networks in `p2p.net.handshakes`",
    "p2p/net/attention.py": "tokens per network",
    "p2p/net/use.py": "what is remembered, the oldest goes first",
    "p2p/reach/calls.py": "calls that this peer makes, at most half of them to one network",
    "p2p/reach/contacts.py": "what is remembered, the oldest goes first; dials of a moment",
    "p2p/reach/reachability.py": "trackers that the user chose",
    "p2p/sharing/exchange.py": "what waits for one peer",
    "p2p/sharing/fetching/incoming.py MAX_ASKED": "peers that this one asks to call",
    "p2p/sharing/fetching/manifests.py": "what one source is asked for",
    "p2p/sharing/fetching/outgoing.py MAX_HEARSAY_TRIES": "how often one is dialled",
    "p2p/sharing/fetching/sources.py": "what is remembered",
    "p2p/sharing/handlers.py": "one answer",
    "p2p/sharing/loading.py": "tokens per network, in `TokenBuckets`",
    "p2p/sharing/reading/": "what this peer's jobs read",
    "p2p/sharing/share.py": "one share",
    "p2p/sharing/wants.py": "what one peer wants",
    "tracker/torrents/bittorrent.py": "one answer",
    "tracker/changes.py": "one announcement",
    "tracker/dialback.py": "what is remembered",
    "tracker/index.py": "one question or one listing",
    "tracker/queries.py": "one question",
    "tracker/torrents/swarms.py MAX_PER_ADDRESS": "one address's own places",
    "tracker/web/": "one page",
    "tracker/writing.py": "one batch",
}
"""Folders, files or constants whose MAX_ bounds no place that is kept from others, and what it bounds."""


def rows() -> list[re.Match[str]]:
    """The list of places in docs/threats.md."""
    found = [ROW.fullmatch(line) for line in (ROOT / "docs" / "threats.md").read_text().splitlines()]
    return [row for row in found if row]


def modules() -> Iterator[tuple[str, ast.Module]]:
    for top in ("p2p", "tracker"):
        for path in sorted((ROOT / top).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text())


def made() -> Iterator[str]:
    """The names with which places are made."""
    for _, module in modules():
        for node in ast.walk(module):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in KINDS:
                name = ast.literal_eval(node.args[0])  # a place has a literal name
                assert isinstance(name, str)
                yield name


def bounds() -> Iterator[str]:
    """All module-level constants that begin with MAX_, each with its file."""
    for path, module in modules():
        for node in module.body:
            targets = node.targets if isinstance(node, ast.Assign) else []
            for target in targets:
                for name in target.elts if isinstance(target, ast.Tuple) else [target]:
                    if isinstance(name, ast.Name) and name.id.lstrip("_").startswith("MAX_"):
                        yield f"{path} {name.id}"


def test_each_place_is_made_once_and_listed_once() -> None:
    names = sorted(get_args(places.Name))
    assert sorted(made()) == names
    assert sorted(row["name"] for row in rows()) == names


@pytest.mark.parametrize("row", rows(), ids=lambda row: row["name"])
def test_each_place_has_its_test(row: re.Match[str]) -> None:
    path, _, name = row["test"].partition("::")
    assert name in {
        node.name
        for node in ast.walk(ast.parse((ROOT / path).read_text()))
        if isinstance(node, ast.AsyncFunctionDef | ast.FunctionDef)
    }


def test_each_bound_is_of_a_place_or_says_of_what_it_is() -> None:
    listed = {name for row in rows() for name in re.findall(r"\w+\.\w*MAX_\w+", row["bound"])}
    found = [bound for bound in bounds() if not SIZES.search(bound)]
    of_places = {bound for bound in found if f"{Path(bound.split()[0]).stem}.{bound.split()[1]}" in listed}
    assert len(of_places) == len(listed), "a bound in the list does not exist"
    unmarked = [
        bound for bound in found if bound not in of_places and not any(bound.startswith(mark) for mark in NO_PLACES)
    ]
    assert not unmarked, "list these in docs/threats.md, or here if they bound no place"
    used = Counter(mark for mark in NO_PLACES for bound in found if bound.startswith(mark))
    assert not [mark for mark in NO_PLACES if not used[mark]], "these marks are of no use"
