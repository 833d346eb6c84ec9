"""Shoal for programs in Python: scripts, threads and notebooks. It is synchronous, and needs no event loop.

`peer.Peer` is what users import, as `from p2p import Peer`. It asks the peer of a home over the control socket, each
time with a `call.Call`; `session` sees to it that a peer runs there, if need be as a `child`. Nothing here imports
trio, cryptography or an HTTP client, and a test holds that: who asks a running peer waits for none of these. What only
notebooks need, such as `display`, is imported when one shows something.
"""
