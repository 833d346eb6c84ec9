"""From a link to files in place: the manifest, the sources, and the receiver of chunks.

Its face is `Fetching`, with the `Options` of a fetch; a `Supply` is where the bytes come from, the swarm or another.
Imports nothing of `p2p.sharing.reading`: a fetch of a share that is read there gets its supply from there.
"""
