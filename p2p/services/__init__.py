"""Long tasks of one peer, and what they do for its user. `Local` is what they share; `node` starts them.

Shares
    share, serve            paths become a share; what a connection may ask for
    fetch                   from a link to files: `gathering` finds sources and talks to them (`finders`, `sources`,
                            `manifests`), `receive` takes chunks in (`swarm`, `exchange`, `verify`), `reuse` has those
                            that are here already
    throttle, pace          rate limits and upload slots; what a peer's messages cost

Being found, and finding
    publisher, trackers     what this peer offers (`offered`, `announce`), told to the DHT and to trackers; `news`
    search, browse          shares by words, and by peer
    pointers                mutable links
    dht, neighbours         this peer in the DHT and on the local network
    contacts, reachability  where others listen, and whether this peer can be dialled
    callers, calling        what peers do of which one cannot be: `wishes` has whom to call

Jobs, at their owner
    jobs                    begun, resumed, cancelled; each prepared by `job_setup` (`bundles`) and run by `owner`
    owner                   one job's actions, from the plan (`planner`) to the result (`saved`)
    driving                 the state machine `core.job`, and its commands carried out
    recruiting, employing   who works: found, offered the job, kept at work (`member`), divided by `fairness`
    dispatch, intake        units on their way out, and what comes of them
    outputs, shuffle        what units made, and what others read of that; `pulling` brings it here
    repeating               units that the owner runs itself
    job_view, job_log       how it stands, and what it printed

Jobs, at a volunteer
    volunteer, engagement   what is offered, to whom; one job at work, its `slots` and `answers`
    reading, kept           what units read, and outputs kept for others
    capacity, computing     what is offered, as others hear of it; what jobs need of a machine

At both
    waiting, hiring         an owner in a volunteer's line; how they meet where one cannot be dialled
    units, running          a unit on its way into a guest, and run there
    inputs                  shares that units read: `held` by all jobs at once, in `ranges` or `whole`, within `room`;
                            `joining` is a user's fetch of one
    pieces                  what is too large for a message

The user
    control, requests       the socket over which commands come; what they ask
    operations, overview    what they have done, and what they are told
    progress, supervision   how long tasks stand, and what a failing disk may end

`aside` is for what is done beside something else.
"""
