"""Reading any share by byte ranges: chunks are fetched as needed, and the disk space of what is kept is bounded.

The public class is `OpenShares`, which opens one `OpenShare` for all readers of a share, and can fetch that share for
the user at the same time. The readers are units of `p2p.compute`, but this package imports nothing from there.
"""
