"""What is decided, sans-IO: bytes, the time and chance come in as arguments, what is to be done comes back.

Shares
    manifest, names     the list of a share's files, which its id follows from; which names it may carry
    layout, bitmap      chunks numbered through a share, and sets of them; `coverage` is such a set in 64 bits
    download            which chunk is asked of whom, rarest first by `availability`
    slots, turns        who is served now, and who is next
    standing            what a peer's past behaviour means for its future

The DHT
    lookup, routing     whom to ask next, and whom to know
    recordstore         what is kept for others
    publications        what is published, and when again
    timing              how long to wait, and how wrong the clock is

Jobs
    job                 the owner's decisions, made of
                            crew, matching      volunteers, and who gets how much
                            stages, stage       which units wait, run and are done, and which are made again
                            disputes            units at which volunteers fail
                            attempts            the words for all of these, and the commands that come back
    plan, partitions    a plan as a guest made it, checked, and how its inputs are cut
    report              what went wrong, as the user reads it
    line                owners who wait for a volunteer's cores, by `turns`
    hindrances          why nobody works, in words

`packing` puts things into few messages.
"""
