"""From a link to files in place: the manifest, sources, and the receiver of chunks."""
