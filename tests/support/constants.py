"""Sets constants of a module for one test: the fixture `shorten`, as in `shorten(queue, "TURN_TIMEOUT_S", 0.1)`.

A constant has to be set in the module whose functions read it. If it was imported by value, setting it in the module
that defines it changes nothing, and the test gets slow instead of failing. Therefore a setting without effect is
refused.
"""

import dis
import importlib.abc
import inspect
from collections.abc import Callable
from functools import cache, partial
from types import CodeType, ModuleType

import pytest

Shorten = Callable[[ModuleType, str, object], None]
_COMPREHENSIONS = {"<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>"}


@pytest.fixture
def shorten(monkeypatch: pytest.MonkeyPatch) -> Shorten:
    """Sets a constant of a module until the end of the test."""
    return partial(set_constant, monkeypatch)


def set_constant(patch: pytest.MonkeyPatch, module: ModuleType, name: str, value: object) -> None:
    """Sets the constant until the patch is undone. Fails if no function of the module would see the change."""
    if name not in vars(module):
        pytest.fail(f"{module.__name__} has no {name}")
    if name not in _names_read(module):
        pytest.fail(f"no function of {module.__name__} reads {name}: set it in the module whose functions do")
    patch.setattr(module, name, value)


@cache
def _names_read(module: ModuleType) -> frozenset[str]:
    """The globals that functions of the module read when they are called.

    Names that are read only while the module is loaded do not count: in its body, in its classes' bodies, in defaults.
    """
    assert module.__spec__ is not None
    loader = module.__spec__.loader
    assert isinstance(loader, importlib.abc.InspectLoader)
    code = loader.get_code(module.__name__)
    assert code is not None
    return frozenset(_read_in(code, called=False))


def _read_in(code: CodeType, *, called: bool) -> set[str]:
    """The globals that this code reads when called. `called`: it runs in a function, not as its module is loaded."""
    if code.co_flags & inspect.CO_OPTIMIZED and code.co_name not in _COMPREHENSIONS:
        called = True
    found = {
        step.argval for step in dis.get_instructions(code) if called and step.opname in {"LOAD_GLOBAL", "LOAD_NAME"}
    }
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            found |= _read_in(inner, called=called)
    return found
