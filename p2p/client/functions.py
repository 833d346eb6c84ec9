"""A function as source: its own text, and the globals that it uses, with theirs. Never bytecode, never a pickle."""

import ast
import builtins
import functools
import inspect
import re
import symtable
import sys
import sysconfig
import textwrap
import types
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

from p2p.client import values
from p2p.errors import ConfigError

SECRET = re.compile(
    r"secret|passw|passphrase|token|credential|api_?key|access_?key|private_?key|auth(?!or)|cookie|session_?id",
    re.IGNORECASE,
)
"""Names of what nobody wants to send to strangers by mistake."""
_PACKAGES = tuple(
    {
        *(Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib", "purelib", "platlib")),
        Path(sysconfig.get_path("purelib", sysconfig.get_preferred_scheme("user"))).resolve(),
    }
)


class Source:
    """What is sent for a function: `sent` has the text for each global by its name, in the order of their making.

    Raises ConfigError for what cannot be sent, and for a global whose name looks like a secret unless it is in `send`.
    `along` are the files that the user sends besides.
    """

    def __init__(self, function: Callable[..., Any], send: Collection[str] = (), along: Iterable[str] = ()) -> None:
        self.sent: dict[str, str] = {}
        self._send, self._along = send, {Path(file).stem for file in along}
        self._owners: dict[str, object] = {}
        self.name = self._of_function(function)

    @property
    def text(self) -> str:
        """The module that has the function."""
        # Annotations are not evaluated: what they name is not sent.
        first = f"from __future__ import annotations\n\nfrom {MODULE} import decode as {DECODE}"
        return "\n\n\n".join((first, *self.sent.values())) + "\n"

    def _of_function(self, function: Any) -> str:
        """Adds a function and what it uses; returns its name."""
        name = getattr(function, "__name__", type(function).__name__)
        function = inspect.unwrap(function)
        if not isinstance(function, types.FunctionType):
            raise ConfigError(f"{name} is no function that was written in Python, with `def`.")
        of_class = "." in function.__qualname__.rpartition("<locals>.")[2]
        if name == "<lambda>" or function.__closure__ or of_class:
            raise ConfigError(
                f"{name} is not at the top level of its module or notebook: write it there, with `def`. What it needs "
                "from around it can be part of the items."
            )
        if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
            raise ConfigError(f"{name} is async: write it without.")
        self._add(name, function, function.__globals__)
        return name

    def _add(self, name: str, defined: Any, around: dict[str, Any]) -> None:
        """Adds what is defined by source, after what that uses."""
        if name in self._owners:
            if self._owners[name] is not defined:
                raise ConfigError(f"The function uses two globals named {name}, of two modules. Rename one.")
            return
        self._owners[name] = defined
        text = _source(name, defined)
        for used in _globals(name, text):
            if used != name and used in around:
                self._of_global(used, around[used], around)
        self.sent[name] = text

    def _of_global(self, name: str, value: Any, around: dict[str, Any]) -> None:
        if getattr(builtins, name, self) is value:
            return
        value = inspect.unwrap(value) if callable(value) else value
        if isinstance(value, types.ModuleType):
            if not _is_installed(value.__name__) and value.__name__ not in self._along:
                raise ConfigError(
                    f"The function uses the module {value.__name__}, a file of yours: send it, as in "
                    f"along=[{getattr(value, '__file__', None)!r}], or import by name what is used of it."
                )
            self._put(name, value, f"import {value.__name__} as {name}")
        elif isinstance(value, types.FunctionType | types.BuiltinFunctionType | type) and _is_installed(
            value.__module__
        ):
            self._put(name, value, f"from {value.__module__} import {value.__qualname__} as {name}")
        elif isinstance(value, types.FunctionType):
            if (own := self._of_function(value)) != name:
                self._put(name, value, f"{name} = {own}")
        elif isinstance(value, type):
            self._add(value.__name__, value, vars(sys.modules[value.__module__]))
            if value.__name__ != name:
                self._put(name, value, f"{name} = {value.__name__}")
        else:
            self._of_constant(name, value)

    def _of_constant(self, name: str, value: Any) -> None:
        if SECRET.search(name) and name not in self._send:
            raise ConfigError(
                f"The function uses the global {name}, whose name looks like a secret, and volunteers would get it. "
                f"If they may have it, name it: send=[{name!r}]"
            )
        try:
            self._put(name, value, f"{name} = {DECODE}({values.encode(value)!r})")
        except values.Untransferable as error:
            raise ConfigError(f"The function uses the global {name}: {error}.") from error

    def _put(self, name: str, value: Any, text: str) -> None:
        if self._owners.setdefault(name, value) is not value:
            raise ConfigError(f"The function uses two globals named {name}, of two modules. Rename one.")
        self.sent[name] = text


MODULE, DECODE = "shoal_values", "_decode_sent"
"""The module of the job that decodes constants, and its name in the module that has the function."""


def _source(name: str, defined: Any) -> str:
    try:
        return textwrap.dedent(inspect.getsource(defined)).rstrip()
    except (OSError, TypeError) as error:
        raise ConfigError(f"There is no source of {name} ({error}): write it in a file or a notebook.") from error


def _globals(name: str, text: str) -> Iterator[str]:
    """The names of globals that a definition refers to, in it and in whatever is inside. Raises ConfigError."""
    plain = ast.unparse(_WithoutAnnotations().visit(ast.parse(text)))
    tables = [symtable.symtable(plain, name, "exec")]
    for table in tables:
        tables += table.get_children()
        for symbol in table.get_symbols():
            is_global = table.get_type() == "module" or symbol.is_global()
            if is_global and symbol.is_assigned() and table.get_type() != "module":
                raise ConfigError(
                    f"{name} assigns to the global {symbol.get_name()}: it must keep nothing between calls."
                )
            if is_global and symbol.is_referenced():
                yield symbol.get_name()


class _WithoutAnnotations(ast.NodeTransformer):
    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        value = node.value or ast.Constant(None)
        return self.generic_visit(ast.copy_location(ast.Assign([node.target], value, lineno=node.lineno), node))


@functools.cache
def _is_in_packages(file: str) -> bool:
    return any(Path(file).resolve().is_relative_to(folder) for folder in _PACKAGES)


def _is_installed(name: str | None) -> bool:
    """Whether this module can be imported elsewhere: it is Python's, or of a package that was installed."""
    module = sys.modules.get(name or "")
    if name is None or module is None or name == "__main__":
        return False
    file = getattr(module, "__file__", None)
    return name.partition(".")[0] in sys.stdlib_module_names or file is None or _is_in_packages(file)
