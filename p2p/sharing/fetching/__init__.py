"""How a link becomes files in place: the manifest, the sources, and the receiver of chunks.

The public class is `Fetching`, with the `Options` of a fetch; the bytes come from a `Supply`, which is the swarm or
another. This package imports nothing from `p2p.sharing.reading`, which passes in the supply for a share it reads.
"""
