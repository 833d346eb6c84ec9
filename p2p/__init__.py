"""Shoal, the peer. One page of its layers, top to bottom; each imports downwards only.

    node        wires one peer and owns its service nursery
    services    long-running tasks: share, serve, fetch (sources, receive, manifests), exchange, contacts, control;
                jobs: their owner's side (jobs, owner and its parts) and the volunteer's (volunteer, engagement)
    net         trio IO: TLS, connections, dialling, listening
    store       blocking disk: database, library, indexing, targets of fetches
    sandbox     foreign code in guests that reach nothing: workers, limits, runtimes
    core        decisions without IO: manifest, layout, download, availability, slots, standing
    wire        what is said: messages, frames, handshake, links (its docstring is the protocol)
    identity, config, log, ids, units, errors

`commandline`, `terminal` and `demo` are for people: commands, what they show, and a whole network on one machine.
"""
