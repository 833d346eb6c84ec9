"""The commands, grouped by subject; `app` makes one program of them, and adds `tracker` and `demo`.

Everything heavy is imported inside the commands, so that `shoal --help` costs little more than typer itself.
"""
