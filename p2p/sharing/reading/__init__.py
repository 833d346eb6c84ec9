"""Reading any share by byte ranges: chunks are fetched as needed, and the disk space of what is kept is bounded.

The public class is `OpenShares`, which opens one `OpenShare` for all readers of a share, and also fetches a share for
the user while others read it. This package imports nothing from `p2p.compute`, whose units are its readers today.
"""
