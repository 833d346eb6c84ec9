"""Shoal, the peer. Its layers are listed from top to bottom; each imports only from those below it.

    commandline  commands, tables, the live view, the demo, and `--local`: a job without a peer
    client       Shoal for programs in Python: what `from p2p import Peer` gives
    node         wires one peer and owns its service nursery
    control      what a user may ask of a running peer
    compute      jobs: at owners, at volunteers, and one unit in a guest
    advertising  telling trackers and the DHT what this peer offers
    sharing      shares, and the exchange of their chunks
    discovery    asking the DHT, trackers and the local network what others offer
    reach        where this peer can be reached, and how peers that cannot be dialled meet
    net          trio IO: TLS, connections, dialling, listening, the DHT, beacons, HTTP to trackers
    store        blocking disk: database, library, indexing, targets of fetches, journal of jobs
    sandbox      foreign code in guests that can reach nothing: workers, limits, runtimes
    concurrency  small pieces of trio that everybody uses
    core         decisions without IO: about shares, the DHT and jobs
    wire         the protocol: messages, frames, handshake, links
    bars         how far something is, in a terminal
    identity, config, log, progress, ids, formats, bucket, sqlite, ignore, errors

The docstring of each package lists what is in it. `jobs` is what a job file imports: it travels with the job, and
imports nothing from the rest.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_PLACES = {
    "Peer": "client.peer",
    "Running": "client.running",
    "DaskCluster": "client.clusters.dask",
    "CancelAnswer": "control.answers",
    "GetAnswer": "control.answers",
    "HitRow": "control.answers",
    "JobAnswer": "compute.answers",
    "JobRow": "compute.answers",
    "ListedRow": "control.answers",
    "LogRow": "compute.answers",
    "PeerRow": "control.answers",
    "Progress": "progress",
    "ShareAnswer": "control.answers",
    "ShareRow": "control.answers",
    "StatusAnswer": "control.answers",
    "UnshareAnswer": "control.answers",
}
"""Where the names are that a program uses. They are imported when first asked for; `__init__.pyi` has their types."""

__all__ = ["__version__", *_PLACES]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
