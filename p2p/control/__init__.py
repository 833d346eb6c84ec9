"""What a user may ask of a running peer.

Its face: `client.ask` asks, over the socket of a `Server`; `Operations` does what is asked, through the faces of the
packages below. Knows nothing of `p2p.commandline`. This file imports nothing: a command that only asks starts fast.
"""
