"""Decisions, sans-IO: bytes, the time and randomness come in as arguments, and what is to be done comes back.

`shares`
    manifest, names     the list of a share's files, which determines its id; which names it may carry
    layout, bitmap      chunks numbered through a share, and sets of them; `coverage` is such a set in 64 bits
    download            which source is asked for which chunk, rarest first by `availability`
    slots               who is served now

`dht`
    lookup, routing     which nodes to ask next, and which to know
    recordstore         the records kept for others
    publications        what is published, and when again
    timing              how long to wait, and how wrong the clock is

`compute`
    job                 the owner's decisions, made of
                            crew, matching      volunteers, and who gets how much
                            stages, stage       which units wait, run and are done, and which run again
                            disputes            units at which volunteers fail
                            attempts            the types for all of these, and the commands that come back
    plan, partitions    a guest's plan, checked, and how its inputs are cut
    report              what went wrong, as the user reads it
    waiting_queue       owners who wait for a volunteer's cores
    diagnosis           why nobody works for a job, in words

For all of them: `round_robin` says whose turn is next, `bans` and `backoff` when to leave a peer alone, and `packing`
fits things into few messages.
"""
