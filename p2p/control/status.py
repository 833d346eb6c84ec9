"""What a peer tells its user of itself: what it shares, who is connected to it and for what, and how it is."""

import dataclasses
import time
from pathlib import Path
from typing import Any

import trio

from p2p.compute.owner.setup import jobs_folder
from p2p.ids import ShareId, to_text
from p2p.net.connection import Connection
from p2p.peer_context import Local
from p2p.reach.reachability import Reachability
from p2p.store import posix
from p2p.store.library import SharedRow
from p2p.wire.address import Address, Scope
from p2p.wire.link import Link, PeerHint, PointerLink
from p2p.wire.records import Pointer


def link_of(local: Local, share_id: ShareId, name: str, size: int) -> str:
    """The link to a share of this peer, with this peer's addresses as hints, where it can be dialled."""
    return str(Link(share_id, name, size, _hints(local), local.trackers.urls))


def _hints(local: Local) -> tuple[PeerHint, ...]:
    return tuple(PeerHint(address, local.peer_id) for address in local.advertised())


def own_shares(local: Local) -> list[SharedRow]:
    """What this peer shares, but for bundles and inputs of jobs, which come and go with these. Blocking."""
    passing = jobs_folder(local), local.inputs.folder
    return [
        row
        for row in local.library.shares()
        if not (row.paths and any(Path(row.paths[0]).is_relative_to(folder) for folder in passing))
    ]


async def shares(local: Local) -> list[dict[str, Any]]:
    """The rows of `own_shares`, as they are shown."""
    return await trio.to_thread.run_sync(_shares, local, _hints(local))


def _shares(local: Local, hints: tuple[PeerHint, ...]) -> list[dict[str, Any]]:
    """In a thread: of thousands of shares this is no moment's work."""
    pointed: dict[bytes, list[str]] = {}
    for record in local.pointers.of(local.peer_id):
        assert isinstance(record.payload, Pointer)
        pointed.setdefault(record.payload.share, []).append(str(PointerLink(local.peer_id, record.payload.name)))
    return [_share(local, row, hints) | {"pointers": pointed.get(row.id, [])} for row in own_shares(local)]


def _share(local: Local, row: SharedRow, hints: tuple[PeerHint, ...]) -> dict[str, Any]:
    swarm = local.swarms.get(ShareId(row.id))
    return {
        "id": to_text(row.id),
        "name": row.name,
        "bytes": row.size,
        "files": row.files,
        "paths": row.paths,
        "unlisted": row.unlisted,
        "fetched": row.fetched,
        "age_s": round(time.time() - row.created),
        "stale": row.stale,
        "peers": len(swarm.members) if swarm else 0,
        "link": str(Link(ShareId(row.id), row.name, row.size, hints, local.trackers.urls)),
    }


def peers(local: Local) -> list[dict[str, Any]]:
    """Who exchanges shares with this peer, works for its jobs, or has it work for theirs."""
    bundles = {underway.run.bundle for underway in local.jobs.values()}
    rows = []
    for underway in local.jobs.values():
        for member in underway.run.members.values():
            job = {"job": underway.view.job, "name": underway.view.name, "cores": min(member.slots, member.wanted)}
            rows.append(_peer(local, member.connection, "volunteer") | job)
    if local.volunteering is not None:
        for engagement in local.volunteering.jobs.values():
            bundles.add(ShareId(engagement.offer.bundle))
            job = {"job": to_text(engagement.offer.job), "cores": engagement.slots}
            rows.append(_peer(local, engagement.connection, "owner") | job)
    for share_id, swarm in local.swarms.items():
        # That a bundle goes from an owner to its volunteers says no more than that there is a job.
        for exchange in swarm.members.values() if share_id not in bundles else ():
            share = {
                "share": swarm.holding.layout.manifest.root.name,
                "uploaded": exchange.uploaded,
                "downloaded": exchange.downloaded,
                "complete": exchange.theirs == swarm.holding.layout.everything,
            }
            rows.append(_peer(local, exchange.connection, "share") | share)
    return rows


def _peer(local: Local, connection: Connection, role: str) -> dict[str, Any]:
    """What is said of every connection."""
    ends = connection.ends
    address = local.contacts.address_of(ends.peer_id) or (ends.claimed_address if ends.dialed else None)
    return {
        "peer": to_text(ends.peer_id),
        "address": ends.remote_host if address is None else str(address),
        "dialable": local.contacts.is_dialable(ends),
        "dialed": ends.dialed,
        "software": ends.hello.software,
        "role": role,
        "share": "",
        "job": "",
        "name": "",
        "cores": 0,
        "uploaded": connection.bytes_out,
        "downloaded": connection.bytes_in,
        "complete": None,
    }


def status(local: Local, rows: list[SharedRow]) -> dict[str, Any]:
    """What this peer is and does; `rows` are its shares."""
    return {
        "peer": to_text(local.peer_id),
        "home": str(local.home),
        "network": local.config.network.name,
        "addresses": [str(address) for address in local.addresses],
        **_reachability(local.reachability),
        "seen_as": sorted(local.seen_as()),
        "uptime_s": round(trio.current_time() - local.started),
        "memory_bytes": posix.resident_bytes(),
        "shares": len(rows),
        "shared_bytes": sum(row.size for row in rows),
        "stale": [row.name for row in rows if row.stale],
        "dht": _dht(local),
        "neighbours": len(local.neighbours),
        "trackers": [
            {
                "url": state.url,
                "trouble": state.trouble,
                "announced_s": None if state.announced is None else round(trio.current_time() - state.announced),
                "shares": state.shares,
                "dialable": state.dialable,
                "refused": list(state.refused),
            }
            for state in local.trackers.states.values()
        ],
        "connections": sum(len(swarm.members) for swarm in local.swarms.values()),
        "uploaded": local.bytes_uploaded,
        "downloaded": local.bytes_downloaded,
        "fetches": [dataclasses.asdict(progress) for progress in local.fetching.values()],
        "jobs": [dataclasses.asdict(underway.view) for underway in local.jobs.values()],
    }


def _dht(local: Local) -> dict[str, Any] | None:
    overlays = local.overlays
    if overlays is None:
        return None
    return {
        "nodes": overlays.size,
        "joined": overlays.joined.is_set(),
        "records": overlays.records,
        "addresses": [str(Address(*node.endpoint.address)) for node in overlays.nodes],
    }


def _reachability(reachability: Reachability) -> dict[str, Any]:
    names = {Scope.MACHINE: "this machine", Scope.PRIVATE: "the local network", Scope.GLOBAL: "everywhere"}
    return {
        "reachability": reachability.state.value,
        "reachability_set": reachability.never,
        "reachable_from": None if reachability.scope is None else names[reachability.scope],
    }
