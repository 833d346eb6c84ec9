"""Shares, and the exchange of their chunks with other peers.

`fetching` gets a share from its link to files in place, `reading` reads any share by byte ranges.
"""
