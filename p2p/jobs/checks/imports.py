"""Finds imports inside functions that would fail, before any unit runs.

What stands at module level has been imported by then, or never will be: under `if TYPE_CHECKING`, under
`if __name__ == "__main__"`, in a file that nothing imports. An import that a `try` or `suppress` expects to fail is
left alone. Whether a function is ever called cannot be known, so its imports are only told; but one that is sure to
run, because an operation calls the function for each record, is a fault.
"""

import ast
import sys
from collections.abc import Iterable, Iterator, Mapping
from importlib.util import find_spec
from types import FunctionType
from typing import NamedTuple

from p2p.jobs.faults import JobFault, Place

WHAT_IS_THERE = "a job imports what its runtime has (see --runtime), modules of its folder, and what --with names"
MAX_NOTES = 10
_EXPECTED = frozenset({"ImportError", "ModuleNotFoundError", "Exception", "BaseException"})


class Missing(NamedTuple):
    """An import of a module that is not there, inside a function."""

    module: str
    place: Place
    function: str
    starts: frozenset[int]
    """Lines at which the function may be said to begin: that of `def`, or of its first decorator."""
    is_certain: bool
    """Whether it runs whenever the function is called."""

    def note(self) -> str:
        """Text for the user."""
        return (
            f"{self.function}(), line {self.place.line} of {self.place.file}, imports {self.module!r}, which is not "
            f"there: a unit that gets to it will fail ({WHAT_IS_THERE})"
        )


def missing(files: Mapping[str, bytes]) -> list[Missing]:
    """Finds them in these files, which are loaded. Raises SyntaxError."""
    found = []
    for path, source in files.items():
        for one in _in_functions(ast.parse(source, path), path):
            if one.module not in sys.modules and find_spec(one.module) is None:
                found.append(one)
    return found


def check(found: Iterable[Missing], functions: Iterable[object]) -> None:
    """Raises JobFault if one of these functions of operations is sure to import what is not there."""
    codes = [function.__code__ for function in functions if isinstance(function, FunctionType)]
    for one in found:
        for code in codes:
            if (
                one.is_certain
                and (code.co_filename, code.co_name) == (one.place.file, one.function)
                and code.co_firstlineno in one.starts
            ):
                text = f"No module named {one.module!r}: {WHAT_IS_THERE}"
                raise JobFault(text, kind="ModuleNotFoundError", place=one.place)


def _in_functions(tree: ast.AST, path: str) -> Iterator[Missing]:
    """All imports inside functions, unless they are expected to fail, or are never reached."""

    def visit(nodes: Iterable[ast.AST], function: str, starts: frozenset[int], is_certain: bool) -> Iterator[Missing]:
        for node in nodes:
            match node:
                case ast.Import() | ast.ImportFrom():
                    place = Place(path, node.lineno)
                    for name in _modules(node) if function else ():
                        yield Missing(name, place, function, starts, is_certain)
                case ast.FunctionDef() | ast.AsyncFunctionDef():
                    lines = frozenset({node.lineno, *(one.lineno for one in node.decorator_list)})
                    yield from visit(node.body, node.name, lines, True)
                case ast.If():
                    yield from visit(() if _never(node.test) else node.body, function, starts, False)
                    yield from visit(node.orelse, function, starts, False)
                case ast.Try() | ast.TryStar() if any(map(_expects, node.handlers)):
                    pass
                case ast.With() if any(_suppresses(item.context_expr) for item in node.items):
                    pass
                case ast.With() | ast.ClassDef() | ast.Module():
                    yield from visit(node.body, function, starts, is_certain)
                case _:
                    yield from visit(ast.iter_child_nodes(node), function, starts, False)

    return visit([tree], "", frozenset(), False)


def _modules(node: ast.Import | ast.ImportFrom) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name.partition(".")[0] for alias in node.names]
    return [node.module.partition(".")[0]] if node.module and not node.level else []


def _never(test: ast.expr) -> bool:
    """Whether it is a condition that no unit meets."""
    return ast.unparse(test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING", "__name__ == '__main__'", "False", "0")


def _expects(handler: ast.ExceptHandler) -> bool:
    """Whether a handler takes the failure of an import."""
    if handler.type is None:
        return True
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(isinstance(kind, ast.Name) and kind.id in _EXPECTED for kind in kinds)


def _suppresses(value: ast.expr) -> bool:
    return isinstance(value, ast.Call) and ast.unparse(value.func) in ("suppress", "contextlib.suppress")
