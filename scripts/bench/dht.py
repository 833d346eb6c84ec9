"""Simulate the DHT on loopback. Run from the top of the repository:

    python -m scripts.bench.dht                           N = 50, 200, 1000; deaths; hostile nodes
    python -m scripts.bench.dht --nodes 50 --operations 20 --json

All nodes share one process and one core: a time contains the work of all remote ends too. `lookup` goes for random
targets until nothing nearer turns up; `get` reads from three holders; `get all` from all. After `25 % killed` and
`50 % killed` (cumulative, at once, without a word) what was published before is got again. With `20 % hostile`, a
quarter each is silent, lies about who is near, forges records, and floods; a get is right when it found the record
that was published and nothing that was not. `kb` are the bytes that all nodes together sent for one operation.

`--sybils`: eight hosts flood a key with records, or identities that are nearer to it than all honest nodes name each
other only, and keep nothing; then somebody publishes, and 20 nodes read, as a fetch does at first and as it does when
it has lost its sources.
"""

import argparse
import json
import os
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from statistics import median

import trio
import trio.testing

from p2p.net.lookups import Outcome
from p2p.wire.records import RecordKind
from scripts.bench.support import sybils
from scripts.bench.support.measure import status_bytes
from scripts.bench.support.overlay import (
    Flooding,
    Forging,
    Lying,
    Overlay,
    Silent,
    SimulatedNode,
    more_descriptors,
    share_key,
)

PUBLISHERS = 3
SYBILS = ((20, 1), (40, 5), (20, 10), (40, 20), (80, 40), (160, 80))
"""How many identities near a key, in how many /24s."""


@dataclass
class Figures:
    """The figures of one phase: seconds, and whatever else it counted."""

    name: str
    seconds: list[float] = field(default_factory=list)
    queries: list[int] = field(default_factory=list)
    dead: list[int] = field(default_factory=list)
    hops: list[int] = field(default_factory=list)
    sent_bytes: int = 0
    """The bytes that all nodes sent during the phase."""
    good: int = 0
    wrong: int = 0

    @property
    def values(self) -> dict[str, object]:
        ordered = sorted(self.seconds) or [0.0]
        values: dict[str, object] = {
            "count": len(self.seconds),
            "good": self.good,
            "wrong": self.wrong,
            "median_ms": round(median(ordered) * 1000, 1),
            "p95_ms": round(ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))] * 1000, 1),
            "max_ms": round(ordered[-1] * 1000, 1),
        }
        for name, counts in (("queries", self.queries), ("dead", self.dead), ("hops", self.hops)):
            if counts:
                values[name] = round(sum(counts) / len(counts), 1)
        if self.sent_bytes and self.seconds:
            values["kb"] = round(self.sent_bytes / len(self.seconds) / 1000, 1)
        return values


class Simulation:
    """One simulated network, taken through its phases."""

    def __init__(self, count: int, operations: int, *, hostile: bool, as_json: bool) -> None:
        self._count = count
        self._operations = operations
        self._hostile = hostile
        self._as_json = as_json
        self._published: list[tuple[bytes, set[bytes]]] = []

    async def run(self, seed: int) -> None:
        title = f"N = {self._count}" + (", 20 % hostile" if self._hostile else "")
        if not self._as_json:
            print(title, flush=True)
        async with trio.open_nursery() as nursery:
            overlay = Overlay(nursery, seed)
            before = status_bytes(os.getpid(), "VmRSS")
            bad = self._count // 5 if self._hostile else 0
            await overlay.grow(self._count - bad)
            for kind in (Silent, Lying, Forging, Flooding):
                await overlay.grow(bad // 4, kind)
            await trio.testing.wait_all_tasks_blocked(0.2) if not bad else await trio.sleep(2)
            grown = status_bytes(os.getpid(), "VmRSS") - before
            join = Figures("join", overlay.join_seconds, overlay.join_queries, good=len(overlay.join_seconds))
            self._show(title, join, memory_kb=round(grown / self._count / 1000, 1))
            await self._phase(title, "lookup", overlay, self._operations, partial(self._lookup, overlay))
            await self._phase(title, "publish", overlay, self._operations, partial(self._publish, overlay))
            await self._phase(title, "get", overlay, self._operations, partial(self._get, overlay, 3))
            await self._phase(title, "get all", overlay, self._operations, partial(self._get, overlay, None))
            if not self._hostile:
                await overlay.kill(self._count // 4)
                await self._phase(title, "25 % killed, get", overlay, self._operations, partial(self._get, overlay, 3))
                await overlay.kill(self._count // 4)
                await self._phase(title, "50 % killed, get", overlay, self._operations, partial(self._get, overlay, 3))
                await self._phase(
                    title, "50 % killed, lookup", overlay, self._operations, partial(self._lookup, overlay)
                )
                await self._phase(
                    title, "50 % killed, get again", overlay, self._operations, partial(self._get, overlay, 3)
                )
            self._traffic(title, overlay)
            nursery.cancel_scope.cancel()

    async def _phase(
        self, title: str, name: str, overlay: Overlay, count: int, operate: Callable[[Figures, int], Awaitable[None]]
    ) -> None:
        figures = Figures(name)
        before = _sent(overlay)
        for number in range(count):
            await operate(figures, number)
        figures.sent_bytes = _sent(overlay) - before
        self._show(title, figures)

    async def _timed(self, figures: Figures, node: SimulatedNode, operate: Callable[[], Awaitable[Outcome]]) -> Outcome:
        started = trio.current_time()
        outcome = await operate()
        figures.seconds.append(trio.current_time() - started)
        figures.queries.append(outcome.asked)
        figures.dead.append(outcome.failures)
        figures.hops.append(outcome.hops)
        return outcome

    async def _lookup(self, overlay: Overlay, figures: Figures, number: int) -> None:
        target, node = overlay.random.randbytes(20), overlay.some()
        outcome = await self._timed(figures, node, lambda: node.dht.find(target))
        place = int.from_bytes(target, "big")
        others = (other for other in overlay.nodes if other is not node)
        nearest = min(others, key=lambda other: int.from_bytes(other.dht.node_id, "big") ^ place)
        good = any(contact.id == nearest.dht.node_id for contact in outcome.near)
        figures.good += good

    async def _publish(self, overlay: Overlay, figures: Figures, number: int) -> None:
        _, key = share_key(f"{number}")
        publishers = overlay.random.sample(overlay.nodes, PUBLISHERS)
        stored = 0
        for node in publishers:
            started = trio.current_time()
            stored = (await node.dht.publish(key, node.record(key))).stored
            figures.seconds.append(trio.current_time() - started)
            figures.hops.append(stored)
            figures.good += stored > 0
        self._published.append((key, {node.identity.peer_id for node in publishers}))

    async def _get(self, overlay: Overlay, enough: int | None, figures: Figures, number: int) -> None:
        key, publishers = self._published[number % len(self._published)]
        node = overlay.some()
        outcome = await self._timed(figures, node, lambda: node.dht.get(key, RecordKind.PROVIDER, enough=enough))
        found = {record.publisher for record in outcome.found.values()}
        figures.good += bool(found & publishers)
        figures.wrong += len(found - publishers)

    def _traffic(self, title: str, overlay: Overlay) -> None:
        counts = [node.dht.endpoint.counts for node in overlay.nodes]
        names = ("limited", "malformed", "forged", "impostors", "misdirected", "unasked", "unanswered")
        shown = {name: sum(count[name] for count in counts) for name in names}
        if self._as_json:
            print(json.dumps({"network": title, "phase": "dropped", **shown}), flush=True)
        else:
            print("  dropped: " + ", ".join(f"{name} {count}" for name, count in shown.items()), flush=True)

    def _show(self, title: str, figures: Figures, **more: object) -> None:
        values = figures.values | more
        if self._as_json:
            print(json.dumps({"network": title, "phase": figures.name, **values}), flush=True)
        else:
            text = "  ".join(f"{name} {value}" for name, value in values.items())
            print(f"  {figures.name:24}{text}", flush=True)


async def _sybils(nodes: int, seed: int, as_json: bool) -> None:
    """What attackers of one key hide: by records from a few networks, and by identities near the key."""
    if not as_json:
        print(f"N = {nodes}, one key attacked: who finds its record", flush=True)
    async with trio.open_nursery() as nursery:
        overlay = Overlay(nursery, seed)
        await overlay.grow(nodes)
        _, key = share_key("without an attack")
        _show_found("no attack", await sybils.publish_and_read(overlay, key), as_json)
        _, key = share_key("flooded")
        taken = await sybils.flood(overlay, key, 8)
        _show_found(f"8 hosts in 8 /24s ({taken} taken)", await sybils.publish_and_read(overlay, key), as_json)
        for ids, networks in SYBILS:
            _, key = share_key(f"{ids} in {networks}")
            async with sybils.crowd(overlay, key, ids, networks):
                found = await sybils.publish_and_read(overlay, key)
            _show_found(f"{ids} ids in {networks} /24s", found, as_json)
        nursery.cancel_scope.cancel()


def _show_found(attack: str, found: sybils.Found, as_json: bool) -> None:
    values = {
        "found": f"{found.ordinary}/{sybils.READERS}",
        "found_thoroughly": f"{found.thorough}/{sybils.READERS}",
        "queries": round(found.ordinary_queries, 1),
        "queries_thoroughly": round(found.thorough_queries, 1),
        "honest_storers": found.stored,
    }
    if as_json:
        print(json.dumps({"attack": attack, **values}), flush=True)
    else:
        print(f"  {attack:34}" + "  ".join(f"{name} {value}" for name, value in values.items()), flush=True)


def _sent(overlay: Overlay) -> int:
    return sum(node.dht.endpoint.counts["sent_bytes"] for node in overlay.nodes)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, action="append", help="repeatable; default 50, 200, 1000")
    parser.add_argument("--operations", type=int, default=100, help="of each phase; default 100")
    parser.add_argument("--hostile", action="store_true", help="only the network of 200 with hostile nodes")
    parser.add_argument("--sybils", action="store_true", help="only attacks on one key, in a network of 200")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    more_descriptors()
    sizes = [] if options.hostile or options.sybils else options.nodes or [50, 200, 1000]
    for count in sizes:
        trio.run(Simulation(count, options.operations, hostile=False, as_json=options.json).run, options.seed)
    if options.sybils or not (options.hostile or options.nodes):
        trio.run(_sybils, 200, options.seed, options.json)
    if options.hostile or not (options.sybils or options.nodes):
        trio.run(Simulation(200, options.operations, hostile=True, as_json=options.json).run, options.seed)
    return 0


if __name__ == "__main__":
    sys.exit(main())
