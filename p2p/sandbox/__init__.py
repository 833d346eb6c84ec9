"""Foreign code, run where it can reach nothing: WebAssembly guests in processes of their own.

    sandbox     the interface for the rest of the peer: a slot for each core that it offers, a worker for each runtime
    guest       the peer's side of one guest: sends frames, receives frames and logs, enforces limits, kills the guest
    runtimes    the runtimes there are, and what their guests start with
    compiled    the cache of compiled modules; `compiling` is the child process that fills it
    worker      the process that holds a runtime loaded and parked; every guest is a fork of it
    stdio       the guest's side of the conversation with the peer: its standard streams
    wasi        everything else a guest may ask for, nearly all of which is refused
    isolation   what confines a worker besides WebAssembly
    hostcalls   the host's functions that a guest calls, made cheap; `memory` checks each access to guest memory
    messages    what peer, worker and guest say to each other over their sockets
    limits      what a guest may use; `engine` is the configuration of WebAssembly
    native      something else: programs of peers that the user trusts, unmodified, in namespaces of their own

Nothing here knows what a job is: frames are bytes. The peer never imports wasmtime, which only workers and the
compiling child load.
"""
