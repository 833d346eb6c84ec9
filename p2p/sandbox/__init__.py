"""Foreign code, run where it can reach nothing: WebAssembly guests in processes of their own.

    sandbox     what the rest of the peer uses: slots for as many guests as cores are offered, a worker for each runtime
    guest       one guest, as the peer sees it: frames out, frames and logs back, limits, a quick end
    runtimes    which runtimes there are, and what their guests start with
    compiled    the cache of compiled modules; `compiling` is the child process that fills it
    worker      the process that has a runtime loaded and parked; every guest is a fork of it
    exchange    a guest's side of the talk with the peer: what its standard streams are
    wasi        everything else a guest may ask for, nearly all of which it is refused
    walls       what stands around a worker besides WebAssembly
    calls       what a guest calls in the host, at little cost; `memory` is its memory, every access checked
    messages    what peer, worker and guest say to each other over their sockets
    limits, engine

Nobody here knows what a job is: frames are bytes. The peer never imports wasmtime, which only workers and the
compiling child load.
"""
