"""Jobs: `owner` gets them done, `volunteer` works on them, `execution` runs single units in a guest for both.

The package's interface is `Jobs` in `owner` and `Volunteering` in `volunteer`, and two modules that both sides use
before a job runs: `bundles`, and `runtimes` (the runtimes of this machine). Owner and volunteer meet only on the wire
(`p2p.wire.work`): neither package imports the other, nor `p2p.control`. Decisions that need no IO are in
`p2p.core.compute`; shares, by which bundles and inputs travel, are in `p2p.sharing`.
"""
