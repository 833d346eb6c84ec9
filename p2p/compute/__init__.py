"""Jobs: `owner` has them done, `volunteer` does them, `execution` is one unit in a guest at either side.

Beside these, what both need to know of a job before it runs: its `bundles`, and the `runtimes` of this machine. Owner
and volunteer meet on the wire only (`p2p.wire.work`): neither package imports the other. What is decided without IO is
in `p2p.core.compute`; shares, by which bundles and inputs travel, in `p2p.sharing`.
"""
