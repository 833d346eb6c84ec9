"""The commands, by what they are about; `app` makes one program of them, with those that run a whole network.

Everything heavy is imported inside the commands, so that `shoal --help` costs little more than typer itself.
"""
