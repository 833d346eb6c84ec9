"""Packages that only some commands need, and that are installed if the user wants them."""

import sys

from p2p.errors import ConfigError


def missing(what: str, extra: str) -> ConfigError:
    """What to tell a user who has not installed what this needs."""
    return ConfigError(
        f"{what} is not installed. In the folder of Shoal's sources, run: {sys.executable} -m pip install '.[{extra}]'"
    )
