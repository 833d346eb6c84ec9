"""The commands, grouped by subject. `app` combines them into one program, and adds `tracker` and `demo`; `child` is no
command, but the peer that `p2p.client` starts.

Whatever is slow to import is imported inside the commands, so that `shoal --help` takes little longer than typer
itself.
"""
