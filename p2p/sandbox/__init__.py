"""Foreign code, run where it can reach nothing: WebAssembly guests in processes of their own.

    sandbox     the face for the rest of the peer: a slot for a guest per core on offer, a worker for each runtime
    guest       one guest, as the peer sees it: frames out, frames and logs back, limits, a quick end
    runtimes    the runtimes there are, and what their guests start with
    compiled    the cache of compiled modules; `compiling` is the child process that fills it
    worker      the process that holds a runtime loaded and parked; every guest is a fork of it
    stdio       the guest's side of the conversation with the peer: its standard streams
    wasi        everything else a guest may ask for, nearly all of which is refused
    isolation   what confines a worker besides WebAssembly
    hostcalls   the functions that a guest calls in the host, made cheap; `memory` is its memory, every access checked
    messages    what peer, worker and guest say to each other over their sockets
    limits, engine

Nobody here knows what a job is: frames are bytes. The peer never imports wasmtime, which only workers and the
compiling child load.
"""
