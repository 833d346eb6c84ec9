"""Decisions about shares, without IO: the manifest, the layout in chunks, and which source is asked for which chunk."""
