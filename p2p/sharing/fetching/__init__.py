"""How a link becomes files in place: the manifest, the sources, and the receiver of chunks.

The public class is `Fetching`, with the `Options` of a fetch; the bytes come from a `Supply`, usually the swarm. This
package imports nothing from `p2p.sharing.reading`, which passes in its own supply for a share that it is reading.
"""
