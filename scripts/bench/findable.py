"""How soon a share can be fetched by its bare id. Run from the top of the repository:

    python -m scripts.bench.findable                      over the DHT (N = 50), a tracker, and the local network
    python -m scripts.bench.findable --rounds 20 --json

Two real peers, one finder at a time: one shares a new file, the other has been told to fetch nothing but its id at the
moment `share` has returned. A time ends when the file is in place, verified. For the DHT the two join 50 simulated
nodes (`scripts.bench.support.overlay`); the tracker is a process of its own.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median
from typing import Any

import trio

from p2p.config import Config, NetworkConfig
from p2p.node import Node, open_node
from p2p.progress import Progress
from p2p.sharing.fetching.supply import Options
from p2p.wire.link import Link
from scripts.bench.support.overlay import NETWORK, Overlay, more_descriptors

NODES = 50
PATIENCE_S = 60.0
_SHOAL = [sys.executable, "-P", "-m", "p2p.commandline.start"]


async def _rounds(folder: Path, giver: Node, taker: Node, count: int) -> list[float]:
    seconds = []
    for number in range(count):
        file = folder / f"file {number}"
        file.write_bytes(os.urandom(1000))
        done = await giver.sharing.share([file], None, Progress(), unlisted=False)
        started = trio.current_time()
        with trio.fail_after(PATIENCE_S):
            await taker.open_shares.fetch(Link(done.share_id), [], Options(folder / "out"), Progress())
        seconds.append(trio.current_time() - started)
    return seconds


async def _measure(folder: Path, network: dict[str, Any], count: int) -> list[float]:
    await trio.Path(folder).mkdir()
    settings: dict[str, Any] = {"name": NETWORK, "listen": ("127.0.0.1:0",), "lan": False, "dht": False} | network
    config = Config(network=NetworkConfig(**settings))
    async with (
        open_node(folder / "giver", config, foreground=True) as giver,
        open_node(folder / "taker", config, foreground=True) as taker,
    ):
        for local in (giver, taker):
            if local.discovery.overlays.is_on:
                await local.discovery.overlays.joined.wait()
        return await _rounds(folder, giver, taker, count)


async def _over_dht(folder: Path, count: int) -> list[float]:
    async with trio.open_nursery() as nursery:
        overlay = Overlay(nursery, 1)
        await overlay.grow(NODES)
        host, port = overlay.nodes[0].address
        seconds = await _measure(folder / "dht", {"dht": True, "join": (f"{host}:{port}",)}, count)
        nursery.cancel_scope.cancel()
    return seconds


async def _over_tracker(folder: Path, count: int) -> list[float]:
    async with _tracker(folder / "home") as url:
        return await _measure(folder / "tracker", {"trackers": (url,)}, count)


async def _over_lan(folder: Path, count: int) -> list[float]:
    return await _measure(folder / "lan", {"lan": True}, count)


@asynccontextmanager
async def _tracker(home: Path) -> AsyncIterator[str]:
    command = [*_SHOAL, "--home", str(home), "tracker", "--listen", "127.0.0.1:0", "--network", NETWORK]
    process = await trio.lowlevel.open_process(command, stdout=-1)
    assert process.stdout is not None
    try:
        yield bytes(await process.stdout.receive_some()).decode().split()[1]
    finally:
        process.terminate()
        await process.wait()
        await process.stdout.aclose()


async def _run(count: int, as_json: bool) -> None:
    for name, over in ((f"DHT, N = {NODES}", _over_dht), ("tracker", _over_tracker), ("local network", _over_lan)):
        with tempfile.TemporaryDirectory(prefix="shoal-findable-") as folder:
            seconds = sorted(await over(Path(folder), count))
        figures = {"median_s": round(median(seconds), 3), "max_s": round(seconds[-1], 3), "rounds": count}
        print(json.dumps({"finder": name, **figures}) if as_json else f"{name:16} {figures}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    more_descriptors()
    trio.run(_run, options.rounds, options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
