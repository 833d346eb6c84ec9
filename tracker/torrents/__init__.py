"""The half of a tracker that any BitTorrent client can use. It knows nothing of Shoal's half.

`bittorrent` reads requests and answers them, `swarms` has the members, `bencode` the encoding.
"""
