"""A function goes as source, with what it uses, and nothing else."""

import functools
import json
import math
import sys
import textwrap as wrapping
import threading
from collections.abc import Callable, Iterator
from typing import Any, Optional

import pytest

from p2p.client import values
from p2p.client.functions import MODULE, Source
from p2p.errors import ConfigError
from tests.support import constants

RATE, API_KEY, UNUSED = 0.5, "abc", object()
NAN = math.nan
LOCK = threading.Lock()
COUNT = 0
root = math.sqrt
short = wrapping.shorten


class Scale:
    factor = RATE

    def times(self, number: Optional[float]) -> float:  # noqa: UP045 - an annotation that cannot travel
        return self.factor * (number or 0)


def decorated(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    @functools.wraps(function)
    def inner(value: Any) -> Any:
        return function(value)

    return inner


def helper(number: float) -> float:
    return Scale().times(root(number)) if number < 100 else even(int(number))


def even(number: int) -> bool:
    return number == 0 or odd(number - 1)


def odd(number: int) -> bool:
    return number != 0 and even(number - 1)


@functools.cache
def used(number: float, API_KEY: str = "own") -> tuple[Any, ...]:
    UNUSED = [json.dumps(one) for one in (number,)]
    return helper(number), short(API_KEY, 10), UNUSED, len(str(NAN))


def with_key(number: int) -> str:
    return API_KEY * number


def with_module(number: int) -> str:
    return f"{number} {constants.__name__}"


def with_lock(number: int) -> int:
    with LOCK:
        return number


def counting(number: int) -> int:
    global COUNT
    COUNT += number
    return COUNT


async def waiting(number: int) -> int:
    return number


@decorated
def wrapped(number: int) -> int:
    return number + 1


def run(source: Source) -> Any:
    """The function that a volunteer gets."""
    space: dict[str, Any] = {}
    exec(compile(source.text, "sent.py", "exec"), space)
    return space[source.name]


@pytest.fixture(autouse=True)
def carried() -> Iterator[None]:
    sys.modules[MODULE] = values
    yield
    del sys.modules[MODULE]


def test_a_function_goes_with_all_that_it_uses() -> None:
    source = Source(used)
    assert set(source.sent) == {
        *("functools", "json", "short", "root", "RATE", "NAN", "Scale", "helper", "even", "odd", "used"),
    }
    assert source.sent["root"] == "from math import sqrt as root"
    assert source.sent["RATE"] == "RATE = _decode_sent('0.5')"
    assert run(source)(16) == used(16) == (2.0, "own", ["16"], 3)
    assert run(source)(101)[0] is False


def test_a_decorator_goes_along() -> None:
    source = Source(wrapped)
    assert set(source.sent) == {"functools", "decorated", "wrapped"}
    assert run(source)(1) == 2


def test_a_name_that_looks_like_a_secret_must_be_named() -> None:
    with pytest.raises(ConfigError, match=r"the global API_KEY, whose name looks like a secret.*send=\['API_KEY'\]"):
        Source(with_key)
    assert run(Source(with_key, ["API_KEY"]))(2) == "abcabc"


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (with_lock, "the global LOCK: _thread.lock does not travel"),
        (with_module, "the module tests.support.constants, a file of yours"),
        (counting, "assigns to the global COUNT"),
        (waiting, "is async"),
        (lambda number: number, "write it there, with `def`"),
        (Scale.times, "is not at the top level"),
        (Scale().times, "is no function that was written in Python"),
        (len, "is no function that was written in Python"),
    ],
)
def test_what_cannot_go_is_refused_with_words(function: Callable[..., Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Source(function)


def test_a_module_that_goes_along_is_imported() -> None:
    assert Source(with_module, along=["/a/tests.support.constants.py"]).sent["constants"].startswith("import tests.")


def test_a_closure_is_refused() -> None:
    number = 5

    def added(other: int) -> int:
        return number + other

    with pytest.raises(ConfigError, match="can be part of the items"):
        Source(added)
