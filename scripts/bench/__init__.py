"""Benchmarks and simulations of Shoal, on loopback alone. Run from the top of the repository, each by its name:

    .venv/bin/python -m scripts.bench.transfer    files, beside curl, aria2, libtorrent and rsync: speed, CPU seconds
                                                  and peak memory of both sides, and how Shoal compares
    .venv/bin/python -m scripts.bench.jobs        units of jobs, beside ProcessPoolExecutor, Dask, Ray and PySpark:
                                                  units per second, time to the first result, a word count, the cost
                                                  of a killed process, memory, many jobs at once
    .venv/bin/python -m scripts.bench.data        shares read as data, beside files and nginx: by column, streams, small
                                                  requests, small files into a large one, a mapped function
    .venv/bin/python -m scripts.bench.cluster --env VENV    Dask on a cluster of peers, beside Dask on plain loopback
    .venv/bin/python -m scripts.bench.idle        a waiting peer: its memory, seconds until it is ready, and `--help`
    .venv/bin/python -m scripts.bench.sandbox     a unit in the sandbox: time, units per second, memory of guests
    .venv/bin/python -m scripts.bench.map         what a program in Python waits for: `Peer()`, and maps of few items,
                                                  of many, and of large ones
    .venv/bin/python -m scripts.bench.findable    seconds from sharing a file to having fetched it by its bare id, over
                                                  the DHT, a tracker and the local network
    .venv/bin/python -m scripts.bench.dht         a simulated DHT: time, queries and bytes of its operations, also with
                                                  nodes that die and nodes that are hostile
    .venv/bin/python -m scripts.bench.tracker     a tracker of a million files: latency of searches, announces and
                                                  requests a second, memory
    .venv/bin/python -m scripts.bench.overshoot   how far a native sandbox exceeds its limits before it ends
    .venv/bin/python -m scripts.bench.limits      the part of a small upload limit that is used, by 1, 3 and 14 getters
    .venv/bin/python -m scripts.bench.attacks     what is left to honest peers while 96 identities attack: rate, memory
    .venv/bin/python -m scripts.bench.surprises   no figures: throws 10,000 exceptions behind the walls of peers at
                                                  work, and checks that all peers live and hold nothing afterwards
    .venv/bin/python -m scripts.bench.kills 100   no figures: kills -9 a process during a job, a hundred times, and
                                                  checks each result
    .venv/bin/python -m scripts.bench.chaos       no figures: all that can go wrong around a node, from a seed, and what
                                                  it holds and answers afterwards

`--help` says what each takes, and what its figures mean. All but `kills`, `surprises` and `chaos` print a table, or
JSON with `--json`. Rivals that are not installed are left out, with a note.

Modules import downwards only: the benchmarks above, `cases` (what `transfer`, `jobs` and `data` measure, what `chaos`
does, and who attacks), `rivals` (the other programs, and how they are driven), `support` (processes and their cost,
data, reports, peers, simulated nodes). `kills` and `surprises` take their peers from tests.support; tests import
nothing from here.
"""
