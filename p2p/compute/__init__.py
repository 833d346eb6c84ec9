"""Jobs: `owner` gets them done, `volunteer` does them, `execution` runs one unit in a guest on either side.

Its face is `Jobs` in `owner` and `Volunteering` in `volunteer`; beside these, what both need to know of a job before it
runs: its `bundles`, and the `runtimes` of this machine. Owner and volunteer meet on the wire only (`p2p.wire.work`):
neither package imports the other, nor `p2p.control`. What is decided without IO is in `p2p.core.compute`;
shares, by which bundles and inputs travel, are in `p2p.sharing`.
"""
