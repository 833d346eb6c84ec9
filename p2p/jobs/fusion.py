"""Runs a stage as one loop: the chain's operations are written out as the source of one function, which is compiled.

A chain of generators would resume a generator for each operation and record; here, a record passes through local
variables. Every operation has its own lines in the source, so the line of an exception identifies the operation, and
the local variables there hold the record, at no cost while nothing goes wrong.
"""

from collections.abc import Collection, Iterable
from functools import lru_cache
from types import FunctionType
from typing import Any, NamedTuple

from p2p.jobs.answer import text_line
from p2p.jobs.best import OPEN, Best
from p2p.jobs.chance import sampler
from p2p.jobs.codec import admit, admit_each, plain
from p2p.jobs.faults import JobFault, frames_in, raised, shown, trace_of
from p2p.jobs.keys import Keys
from p2p.jobs.operations import Operation, Sink
from p2p.jobs.skipping import Skipped

_FILE = "<stage>"
_INDENT = "    "
_PAIR = "key, value = {x}"
_ADMIT = "if type({x}) is not k{i}: {x}, k{i} = admit({x})"
"""Makes a NamedTuple the tuple that it would be if the record had come from another unit: see `codec.admit`."""

# What an operation does with the record {x}; {y} is the record after it.
_STEPS = {
    "records": "{y} = f{i}({x})",
    "map": "{y} = f{i}({x})",
    "key_by": "{y} = f{i}({x})",
    "flat_map": "for {y} in f{i}({x}):",
    "filter": "if not f{i}({x}): continue",
    "sample": "if f{i}() >= fraction{i}: continue",
}
_KEEPS_RECORD = {"filter", "sample"}
_LEFT_OUT = "except Exception as error: skip(error, {i}, {x}); continue"
# The same for operations that leave out the records for which they raise an exception. `flat_map` takes all that a
# record gives, or nothing.
_SKIPPING_STEPS = {
    **dict.fromkeys(("records", "map", "key_by"), f"try: {{y}} = f{{i}}({{x}})\n{_LEFT_OUT}"),
    "flat_map": f"try: all{{i}} = list(f{{i}}({{x}}))\n{_LEFT_OUT}\nfor {{y}} in all{{i}}:",
    "filter": f"try: keeps{{i}} = f{{i}}({{x}})\n{_LEFT_OUT}\nif not keeps{{i}}: continue",
}


class _End(NamedTuple):
    """A sink's source text: what runs before the loop, what runs for each record {x}, and the result's expression."""

    before: str
    each: str
    result: str


_KEPT = "kept = []\nkeep = kept.append"


def _best(lowest: bool, keyed: bool) -> _End:
    worse = "floor < key" if lowest else "key < floor"
    return _End(
        f"best = Best(amount, lowest={lowest})\noffer = best.offer\nfloor = OPEN",
        f"key = {'function({x})' if keyed else '{x}'}\nif floor is OPEN or not {worse}: floor = offer(key, {{x}})",
        "best.records()",
    )


def _end(sink: Sink) -> _End:
    match sink.name:
        case "count":
            return _End("n = 0", "n += 1", "n")
        case "sum":
            return _End("total = 0", "total = total + {x}", "total")  # += would change an array of the job's own
        case "mean":
            return _End("total = n = 0", "total = total + {x}\nn += 1", "(total, n)")
        case "min" | "max" | "top":
            return _best(sink.name == "min", sink.function is not None)
        case "take":
            return _End(_KEPT, "keep({x})\nif len(kept) == amount: return kept", "kept")
        case "collect":
            return _End(_KEPT, "keep({x})", "kept")
        case "save":
            return _End(_KEPT, "keep(text_line({x}, form))", "kept")
        case "reduce":
            each = (
                "total = {x} if total is OPEN else function(total, {x})\n"
                "if type(total) is not vk: total, vk = admit(total)"
            )
            return _End("total = OPEN\nvk = None", each, "[] if total is OPEN else [total]")
        case "reduce_by_key":
            each = (
                f"{_PAIR}\n"
                "if type(key) is not kind: key = plain(key); kind = check(key)\n"
                "if key in table: value = function(table[key], value)\n"
                "if type(value) is not vk: value, vk = admit(value)\n"
                "table[key] = value"
            )
            return _End("table = {}\nkeys = Keys(table)\ncheck = keys.admit\nkind = vk = None", each, "keys")
        case _:
            raise AssertionError(sink.name)


class _Text:
    """The source text of a function being written, and the operation that each of its lines belongs to."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.owners: dict[int, tuple[int, str | None]] = {}
        """By line number: the operation's index (that of the sink is one past the last), and the variable of its
        record.
        """
        self.depth = 0

    def add(self, text: str, owner: int, variable: str | None = None) -> None:
        for line in text.split("\n"):
            self.lines.append(_INDENT * self.depth + line)
            self.owners[len(self.lines)] = (owner, variable)
        if text.endswith(":"):
            self.depth += 1


@lru_cache(maxsize=256)
def _written(names: tuple[str, ...], skips: tuple[bool, ...], end: _End) -> tuple[FunctionType, _Text]:
    """Writes and compiles the function for a chain of operations. Returns it, and its source."""
    text = _Text()
    parameters = "".join(f", f{i}=None, fraction{i}=1.0" for i in range(len(names)))
    more = "function=None, amount=1, form='', skip=None, admit=admit, OPEN=OPEN, text_line=text_line"
    text.add(f"def stage(items{parameters}, {more}):", -1)
    start = 0
    for index, name in enumerate(names):
        if name == "map_partitions":
            _iteration(text, names, skips, start, index)
            start = index + 1
    text.add(end.before, len(names))
    record = _body(text, names, skips, start, len(names))
    text.add(end.each.format(x=record), len(names), record)
    text.depth = 1
    text.add("return " + end.result, len(names))
    scope: dict[str, Any] = {
        "OPEN": OPEN,
        "admit": admit,
        "Best": Best,
        "Keys": Keys,
        "text_line": text_line,
        "plain": plain,
    }
    exec(compile("\n".join(text.lines), _FILE, "exec"), scope)
    return scope["stage"], text


def _iteration(text: _Text, names: tuple[str, ...], skips: tuple[bool, ...], start: int, end: int) -> None:
    """Writes the operations before a map_partitions as one iterator, and applies its function to that."""
    if start == end == 0:
        text.add(f"items = f{end}(iter(items))", end)
        return
    text.add(f"def before{end}(items):", end)
    text.add("yield " + _body(text, names, skips, start, end), end)
    text.depth = 1
    text.add(f"items = f{end}(before{end}(items))", end)


def _body(text: _Text, names: tuple[str, ...], skips: tuple[bool, ...], start: int, end: int) -> str:
    """Writes the loop that takes records through these operations. Returns the variable of the last one's record."""
    x = f"x{start}"
    checked = [start, *(index + 1 for index in range(start, end) if names[index] not in _KEEPS_RECORD)]
    text.add(" = ".join(f"k{index}" for index in checked) + " = None", start)
    text.add(f"for {x} in items:", start - 1)  # a failure here is in the previous operation's iterator
    if start:
        text.add(_ADMIT.format(x=x, i=start), start - 1, x)
    for index in range(start, end):
        y = x if names[index] in _KEEPS_RECORD else f"x{index + 1}"
        steps = _SKIPPING_STEPS if skips[index] else _STEPS
        text.add(steps[names[index]].format(x=x, y=y, i=index), index, x)
        if y != x:
            text.add(_ADMIT.format(x=y, i=index + 1), index, x)
        if names[index] == "key_by":
            text.add(f"{y} = ({y}, {x})", index, x)
        x = y
    return x


class Loop:
    """A stage's compiled loop: runs over records, and turns an exception raised in it into a fault of the job."""

    def __init__(self, operations: Collection[Operation], sink: Sink, *, has_named: bool = True) -> None:
        """`has_named`: whether the job's code may make NamedTuples of its own."""
        self._parts: list[Operation | Sink] = [*operations, sink]
        self._samples = [index for index, op in enumerate(operations) if op.name == "sample"]
        names, skips = tuple(op.name for op in operations), tuple(op.skips for op in operations)
        self._function, self._text = _written(names, skips, _end(sink))
        self._arguments: dict[str, Any] = {"function": sink.function, "admit": admit_each if has_named else admit}
        for name in ("amount", "form"):
            if hasattr(sink, name):
                self._arguments[name] = getattr(sink, name)
        for index, op in enumerate(operations):
            self._arguments[f"f{index}"] = op.function
            self._arguments[f"fraction{index}"] = op.fraction

    def run(self, items: Iterable[Any], skipped: Skipped | None = None) -> Any:
        """Returns what the sink makes of these records. Raises whatever the job's functions raise.

        Records that may be left out are counted in `skipped`.
        """
        if skipped is not None:
            self._arguments["skip"] = skipped.skip
        for index in self._samples:
            self._arguments[f"f{index}"] = sampler(index).random
        return self._function(items, **self._arguments)

    def fault(self, error: BaseException, files: Collection[str]) -> JobFault | None:
        """Makes the fault for an exception raised by `run`; None if the exception came from elsewhere."""
        steps = frames_in(trace_of(error), _FILE)
        if not steps:
            return None
        last = steps[-1]
        owner, variable = self._text.owners[last.tb_lineno]
        part = self._parts[owner] if owner >= 0 else None
        known = last.tb_frame.f_locals
        record = shown(known[variable]) if variable in known else None
        text = None
        if last.tb_next is None and self._text.lines[last.tb_lineno - 1].strip() == _PAIR.format(x=variable):
            text = f"reduce_by_key takes (key, value) pairs, and this record is not one: {error}"
        place, name = (part.place, part.name) if part else (None, None)
        return raised(error, files, place=place, operation=name, record=record, text=text)
