"""This peer's figures for Prometheus, made from its status."""

from p2p.control import protocol
from p2p.control.answers import StatusAnswer
from p2p.net.http_server.metrics import counters, gauges
from p2p.web.deps import Perform, ignore

PREFIX = "shoal_peer"


async def figures(perform: Perform) -> bytes:
    """The figures in the text form of Prometheus. Raises ShoalError."""
    status: StatusAnswer = await perform(protocol.StatusRequest(), ignore)
    now: dict[str, float] = {
        "uptime_seconds": status.uptime_s,
        "shares": status.shares,
        "shared_bytes": status.shared_bytes,
        "stale_shares": len(status.stale),
        "connections": status.connections,
        "neighbours": status.neighbours,
        "dht_nodes": status.dht.nodes if status.dht else 0,
        "dht_records": status.dht.records if status.dht else 0,
        "trackers": len(status.trackers),
        "trackers_in_trouble": sum(bool(tracker.trouble) for tracker in status.trackers),
        "fetches": len(status.fetches),
        "jobs": len(status.jobs),
    }
    if status.memory_bytes is not None:
        now["memory_bytes"] = status.memory_bytes
    return gauges(PREFIX, now) + counters(
        PREFIX,
        {"uploaded_bytes": status.uploaded, "downloaded_bytes": status.downloaded, "bugs": status.bugs},
    )
