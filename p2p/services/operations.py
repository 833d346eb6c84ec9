"""What a peer does at its user's request, the same for the control socket and for a command in the foreground."""

import dataclasses
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from p2p import ids
from p2p.errors import ConfigError, NotFound
from p2p.ids import ShareId
from p2p.services import fetch, requests, share
from p2p.services.local import Local
from p2p.services.progress import Progress
from p2p.services.requests import AnyRequest, Event, Note, Update
from p2p.store import posix
from p2p.store.library import SharedRow
from p2p.wire.link import Link, PeerHint, parse_link, parse_peer

UPDATE_EVERY_S = 0.15

Emit = Callable[[Event], Awaitable[None]]


async def perform(local: Local, request: AnyRequest, emit: Emit, *, keep_serving: bool) -> Any:
    """Does what is asked; returns the answer. `emit` gets updates and notes meanwhile. Raises ShoalError."""
    match request:
        case requests.Share():
            return await _share(local, request, emit)
        case requests.Get():
            return await _get(local, request, emit, keep_serving=keep_serving)
        case requests.Shares():
            rows = await trio.to_thread.run_sync(local.library.shares)
            return [_share_row(local, row) for row in rows]
        case requests.Unshare(id=text):
            return await _unshare(local, text)
        case requests.Peers():
            return _peers(local)
        case requests.Status():
            rows = await trio.to_thread.run_sync(local.library.shares)
            return _status(local, rows)


def link_of(local: Local, share_id: ShareId, name: str, size: int) -> str:
    """The link to a share of this peer, with this peer's addresses as hints."""
    hints = tuple(PeerHint(address, local.peer_id) for address in local.addresses)
    return str(Link(share_id, name, size, hints))


async def _share(local: Local, request: requests.Share, emit: Emit) -> dict[str, Any]:
    progress = Progress(state="listing files")
    paths = [Path(path) for path in request.paths]
    async with _reported(progress, emit):
        done = await share.share(local, paths, request.name, progress, unlisted=request.unlisted)
    for warning in done.warnings:
        await emit(Note(warning))
    return {
        "link": link_of(local, done.share_id, done.name, done.bytes),
        "id": ids.to_text(done.share_id),
        "name": done.name,
        "bytes": done.bytes,
        "files": done.files,
        "reused": done.reused,
        "seconds": round(done.seconds, 3),
    }


async def _get(local: Local, request: requests.Get, emit: Emit, *, keep_serving: bool) -> dict[str, Any]:
    link = parse_link(request.link)
    if link.trackers:
        await emit(Note("the link names a tracker; trackers are not in this version"))
    hints = [parse_peer(text) for text in request.peers]
    earlier = await trio.to_thread.run_sync(local.records.sources, link.share_id)
    if not hints and not link.peers and not earlier:
        await emit(
            Note("the link names no peer, and this version finds none by itself: name one with --peer HOST:PORT")
        )
    options = fetch.Options(
        folder=Path(request.out),
        select=request.select,
        sequential=request.sequential,
        overwrite=request.overwrite,
        wait_s=request.wait_s,
        limit_bytes_per_s=request.limit_bytes_per_s,
        keep_serving=keep_serving,
    )
    progress = Progress()
    async with _reported(progress, emit):
        result = await fetch.fetch(local, link, hints, options, progress)
    return {
        "paths": [str(path) for path in result.paths],
        "bytes": result.bytes,
        "received": result.received,
        "seconds": round(result.seconds, 3),
        "sources": {ids.to_text(peer): count for peer, count in result.sources.items()},
    }


async def _unshare(local: Local, text: str) -> dict[str, Any]:
    rows = await trio.to_thread.run_sync(local.library.shares)
    if text.startswith("magnet:"):
        text = ids.to_text(parse_link(text).share_id)
    matching = [row for row in rows if ids.to_text(row.id).startswith(text.lower())] if text else []
    if not matching:
        raise NotFound(f"This peer shares nothing with the id {text!r}. `shoal shares` lists what it does.")
    if len(matching) > 1:
        raise ConfigError(f"{len(matching)} shares have an id that starts with {text!r}. Give more of it.")
    await share.unshare(local, ShareId(matching[0].id))
    return {"id": ids.to_text(matching[0].id), "name": matching[0].name}


def _share_row(local: Local, row: SharedRow) -> dict[str, Any]:
    swarm = local.swarms.get(ShareId(row.id))
    return {
        "id": ids.to_text(row.id),
        "name": row.name,
        "bytes": row.size,
        "files": row.files,
        "paths": row.paths,
        "unlisted": row.unlisted,
        "fetched": row.fetched,
        "age_s": round(time.time() - row.created),
        "stale": row.stale,
        "peers": len(swarm.members) if swarm else 0,
        "link": link_of(local, ShareId(row.id), row.name, row.size),
    }


def _peers(local: Local) -> list[dict[str, Any]]:
    rows = []
    for swarm in local.swarms.values():
        for peer, exchange in swarm.members.items():
            address = local.contacts.address_of(peer)
            rows.append(
                {
                    "peer": ids.to_text(peer),
                    "address": str(address) if address else exchange.ends.remote_host,
                    "dialable": address is not None,
                    "dialed": exchange.ends.dialed,
                    "software": exchange.ends.hello.software,
                    "share": swarm.holding.layout.manifest.root.name,
                    "uploaded": exchange.uploaded,
                    "downloaded": exchange.downloaded,
                    "complete": exchange.theirs == swarm.holding.layout.everything,
                }
            )
    return rows


def _status(local: Local, rows: list[SharedRow]) -> dict[str, Any]:
    return {
        "peer": ids.to_text(local.peer_id),
        "home": str(local.home),
        "network": local.config.network.name,
        "addresses": [str(address) for address in local.addresses],
        "seen_as": sorted(local.seen_as()),
        "uptime_s": round(trio.current_time() - local.started),
        "memory_bytes": posix.resident_bytes(),
        "shares": len(rows),
        "shared_bytes": sum(row.size for row in rows),
        "stale": [row.name for row in rows if row.stale],
        "connections": sum(len(swarm.members) for swarm in local.swarms.values()),
        "uploaded": local.bytes_uploaded,
        "downloaded": local.bytes_downloaded,
        "fetches": [dataclasses.asdict(progress) for progress in local.fetching.values()],
    }


@asynccontextmanager
async def _reported(progress: Progress, emit: Emit) -> AsyncIterator[None]:
    """Emits the progress now and then while the body runs. The body's own errors come out as they are."""
    failure: Exception | None = None

    async def report() -> None:
        while True:
            await emit(Update(dataclasses.asdict(progress)))
            await trio.sleep(UPDATE_EVERY_S)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(report)
        try:
            yield
        except Exception as error:  # noqa: BLE001 - handed on below, past the nursery that would wrap it
            failure = error
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
    await emit(Update(dataclasses.asdict(progress)))
