"""Shoal, the peer. Its layers are listed from top to bottom; each imports only from those below it.

    commandline  commands, tables, the live view, the demo, and `--local`: a job without a peer
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
    identity, config, log, progress, ids, formats, bucket, sqlite, ignore, errors

The docstring of each package lists what is in it. `jobs` is what a job file imports: it travels with the job, and
imports nothing from the rest.
"""

__version__ = "0.1.0"
