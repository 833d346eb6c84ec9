"""Shares: made from files, served to other peers, and fetched from them.

Its face: `Sharing` makes and ends shares, `Swarms` has those being exchanged, `Traffic` what they move; `ShareHandlers`
answers what peers ask about shares, `ShareCalls` calls those that lack chunks. `fetching` takes a share from its link
to files in place, `reading` reads any share by byte ranges. Imports nothing of `p2p.advertising` or `p2p.compute`.
"""
