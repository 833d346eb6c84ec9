"""Shares: how they are made from files, served to other peers, and fetched from them.

The public classes: `Sharing` makes and ends shares, `Swarms` holds the swarms of the shares being exchanged, and
`Traffic` limits and counts the bytes they move; `ShareHandlers` answers what peers ask about shares, and `ShareCalls`
calls peers that lack chunks. The package `fetching` turns a share's link into files in place, and `reading` reads any
share by byte ranges. This package imports nothing from `p2p.advertising` or `p2p.compute`.
"""
