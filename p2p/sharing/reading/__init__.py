"""Any share read by byte ranges, fetched as needed, kept within a bound.

Its face is `OpenShares`, which opens one `OpenShare` for all readers of a share, and fetches a share for its user while
others read it. Imports nothing of `p2p.compute`, whose units are its readers today.
"""
