"""Constants set for a test: seen by the functions of their module, refused where none would see them."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from tests.support.constants import Shorten, set_constant

Load = Callable[[str], ModuleType]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Loads a module of this text."""

    def load(text: str) -> ModuleType:
        path = tmp_path / "loaded.py"
        path.write_text(text)
        spec = importlib.util.spec_from_file_location("loaded", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.mark.parametrize(
    "text",
    [
        "def get():\n    return WAIT_S",
        "async def wait():\n    await sleep(WAIT_S)\nget = lambda: WAIT_S",
        "class Waiter:\n    def get(self):\n        return WAIT_S\nget = Waiter().get",
        "def get():\n    def inner():\n        return WAIT_S\n    return inner()",
        "def get():\n    return max([WAIT_S for _ in range(2)])",
        "def get():\n    class Held:\n        wait_s = WAIT_S\n    return Held.wait_s",
        "def get():\n    def wait(seconds=WAIT_S):\n        return seconds\n    return wait()",
        "class Waiter:\n    def get(self):\n        return sum(WAIT_S for _ in '1')\nget = Waiter().get",
    ],
)
def test_functions_see_it_until_the_end_of_the_test(load: Load, text: str) -> None:
    module = load(f"WAIT_S = 30.0\n{text}\n")
    with pytest.MonkeyPatch.context() as patch:
        set_constant(patch, module, "WAIT_S", 0.5)
        assert module.get() == 0.5
    assert module.get() == 30.0


def test_a_constant_of_another_module_is_set_where_it_is_read(load: Load, shorten: Shorten) -> None:
    module = load("from math import pi\ndef area(r):\n    return pi * r * r\n")
    shorten(module, "pi", 3.0)
    assert module.area(2) == 12.0


def test_a_name_that_is_not_there_is_refused(load: Load, shorten: Shorten) -> None:
    module = load("WAIT_S = 30.0\ndef get():\n    return WAIT_S + GONE_S\n")
    with pytest.raises(pytest.fail.Exception, match="loaded has no GONE_S"):
        shorten(module, "GONE_S", 0.5)
    assert not hasattr(module, "GONE_S")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "def get(wait_s=WAIT_S):\n    return wait_s",
        "class Waiter:\n    wait_s = WAIT_S\n    def get(self, wait_s=WAIT_S):\n        return wait_s",
        "TWICE_S = 2 * WAIT_S\ndef get():\n    return TWICE_S",
        "BOTH_S = [WAIT_S for _ in range(2)]\nALL_S = set(n * WAIT_S for n in range(2))",
        "class Waiter:\n    both_s = [n for n in range(int(WAIT_S))]",
        "def get():\n    WAIT_S = 1.0\n    return WAIT_S",
        "def get(other):\n    return other.WAIT_S",
        "def put():\n    global WAIT_S\n    WAIT_S = 1.0",
    ],
)
def test_what_no_function_reads_is_refused(load: Load, shorten: Shorten, text: str) -> None:
    module = load(f"WAIT_S = 30.0\n{text}\n")
    with pytest.raises(pytest.fail.Exception, match="no function of loaded reads WAIT_S"):
        shorten(module, "WAIT_S", 0.5)
    assert module.WAIT_S == 30.0
