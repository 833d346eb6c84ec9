"""Decisions, sans-IO: bytes, the time and randomness are passed in, and what is to be done is returned.

`shares`
    manifest, names     the list of a share's files, which determines its id; which file names are allowed
    layout, bitmap      the numbers of a share's chunks, and sets of chunks; `coverage` is such a set in 64 bits
    download            which source is asked for which chunk, rarest first by `availability`
    slots               which downloaders are served now

`dht`
    lookup, routing     which nodes to ask next, and which nodes to remember
    density             whether a crowd sits around a key, and where to look then
    recordstore         the records kept for other peers, and which of them give way
    admission           whose queries are worth checking a signature for
    origins             where records and queries come from
    publications        what to publish, and when to publish it again
    timing              how long to wait for answers, and how wrong this machine's clock is

`compute`
    job                 the owner's decisions, made of
                            crew, matching      the volunteers, and how much work each gets
                            stages, stage       which units wait, run or are done, and which must run again
                            disputes            the units at which volunteers fail
                            attempts            the types that all of these use, and the commands they return
    plan, partitions    the plan that a guest made, checked, and how its inputs are partitioned
    report              what went wrong with a unit, as shown to the user
    waiting_queue       owners who wait for a volunteer's cores
    diagnosis           why nobody works for a job, in words

`cluster`
    allocations         the life of what a member lends to an owner
    membership          which members are there, away or gone
    switch              where each packet goes: `packets` that are sound, a `line` for each member, `batches` for
                        frames, a `backlog` in the system; `refusal` answers in the name of a member that is gone

All of them use `p2p.round_robin`, which decides whose turn is next, `bans`, which decides when to leave a peer alone,
and `packing`, which fits items into few messages.
"""
