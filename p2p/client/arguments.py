"""Checks the arguments of a job, which travel as JSON: each must be the same value when it arrives."""

from math import isfinite
from typing import Any

from p2p.compute import arguments
from p2p.errors import ConfigError


def checked(values: dict[str, Any]) -> dict[str, Any]:
    """The arguments. Raises ConfigError for what JSON cannot carry, or would change, such as a tuple into a list."""
    for name, value in values.items():
        if not isinstance(name, str) or not name.isidentifier():
            raise ConfigError(f"{name!r} cannot be the name of an argument of the job's function.")
        if arguments.is_too_deep(value):
            raise ConfigError(f"The argument {name} is nested deeper than {arguments.MAX_DEPTH}. Pass it as an input.")
        _check(name, value)
    return values


def _check(name: str, value: Any) -> None:
    match value:
        case None | bool():
            return
        case _ if type(value) is str:
            return
        case _ if type(value) is int:
            if value.bit_length() > arguments.MAX_DIGITS * 3:
                raise ConfigError(f"The argument {name} has a number with too many digits. Pass it as text.")
        case _ if type(value) is float:
            if not isfinite(value):
                raise ConfigError(f"The argument {name} has {value} in it, which JSON does not know. Pass it as text.")
        case _ if type(value) is list:
            for one in value:
                _check(name, one)
        case _ if type(value) is dict:
            for key, one in value.items():
                if type(key) is not str:
                    raise ConfigError(f"The argument {name} has the key {key!r} in it. In JSON, all keys are texts.")
                _check(name, one)
        case _:
            raise ConfigError(
                f"The argument {name} has a {type(value).__name__} in it, which would not arrive as it is. "
                "Pass None, bool, int, float, str, or lists and dicts of these."
            )
