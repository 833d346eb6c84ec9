"""Shares: how they are made from files, served to other peers, and fetched from them.

The public classes: `Sharing` makes and ends shares, `Swarms` has those being exchanged, and `Traffic` what exchanges
move; `ShareHandlers` answers what peers ask about shares, and `ShareCalls` calls peers that lack chunks. `fetching`
makes files in place from a share's link, `reading` reads any share by byte ranges. This package imports nothing from
`p2p.advertising` or `p2p.compute`.
"""
