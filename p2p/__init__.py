"""Shoal, the peer. One page of its layers, top to bottom; each imports downwards only.

    node        wires one peer and owns its service nursery
    services    long-running tasks: shares, how they are found, jobs at owners and at volunteers, the user's commands
    net         trio IO: TLS, connections, dialling, listening, the DHT, beacons, HTTP to trackers
    store       blocking disk: database, library, indexing, targets of fetches, journal of jobs
    sandbox     foreign code in guests that reach nothing: workers, limits, runtimes
    core        decisions without IO: of shares, of the DHT, of jobs
    wire        what is said: messages, frames, handshake, links (its docstring is the protocol)
    identity, config, log, ids, units, bucket, sqlite, errors

What is in services, sandbox and core, their docstrings list. `jobs` is what a job file imports: it travels with the
job, and imports nothing of the rest.

`commandline`, `command`, `tables`, `terminal` and `demo` are for people: commands, the peer that carries them out,
what they show, and a whole network on one machine. `local_job` runs a job without a peer.
"""

__version__ = "0.1.0"
