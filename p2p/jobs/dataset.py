"""What a job file works with: inputs, operations on records, actions.

This module computes nothing. Operations only make a chain longer. An action waits until it has been carried out, and
returns its result; a later run of `job` gets the result at once.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Generic, Literal, NamedTuple, NoReturn, Protocol, TypeAlias, TypeVar, cast

from p2p.jobs.codec import plain
from p2p.jobs.faults import JobFault, here
from p2p.jobs.operations import Action, Chain, Operation, Shuffle
from p2p.jobs.sources import OF_BYTES, Source, count_of, json_value

NO_ACTION = "job() returned records without an action: end with .collect(), .top(10) or .save()"

T = TypeVar("T")
U = TypeVar("U")
K = TypeVar("K")
V = TypeVar("V")
OnError: TypeAlias = Literal["fail", "skip"]


class Run(Protocol):
    """One run of `job`, with the results of the actions that were already carried out."""

    replays: bool
    """Whether the next action was already carried out.

    If so, `replay` returns its result, and its chain no longer matters.
    """

    def replay(self, name: str) -> Any: ...

    def act(self, chain: Chain, action: Action) -> Any:
        """Waits until the action has been carried out, and returns its result."""
        ...


class Input(NamedTuple):
    """One of the job's inputs: a file or a folder."""

    name: str
    size: int
    files: int


class Dataset(Generic[T]):
    """Records in partitions, and the operations on them. Immutable: every operation returns a new Dataset.

    A record for which a function raises an exception ends the job, or is left out with `on_error="skip"`: the job's
    user is then told how many were left out, and what went wrong with the first of them.
    """

    __slots__ = ("_chain", "_run")

    def __init__(self, run: Run, chain: Chain) -> None:
        self._run = run
        self._chain = chain

    def map(self, function: Callable[[T], U], on_error: OnError = "fail") -> "Dataset[U]":
        """`function(record)` for every record."""
        return self._with("map", function, on_error)

    def flat_map(self, function: Callable[[T], Iterable[U]], on_error: OnError = "fail") -> "Dataset[U]":
        """Everything that `function(record)` returns, item by item, for every record."""
        return self._with("flat_map", function, on_error)

    def filter(self, function: Callable[[T], object], on_error: OnError = "fail") -> "Dataset[T]":
        """The records for which `function(record)` is true."""
        return self._with("filter", function, on_error)

    def map_partitions(self, function: Callable[[Iterator[T]], Iterable[U]]) -> "Dataset[U]":
        """Everything that `function(iterator over a partition's records)` returns, item by item, for each partition."""
        return self._with("map_partitions", function)

    def key_by(self, function: Callable[[T], K], on_error: OnError = "fail") -> "Dataset[tuple[K, T]]":
        """`(function(record), record)` for every record."""
        return self._with("key_by", function, on_error)

    def sample(self, fraction: float) -> "Dataset[T]":
        """Keeps each record with this probability, from 0 to 1; the same ones in every run over the same partitions."""
        if not 0 <= fraction <= 1:
            _wrong(f"sample() takes a fraction from 0 to 1, not {fraction!r}")
        return self._with("sample", fraction=float(fraction))

    def reduce_by_key(
        self: "Dataset[tuple[K, V]]", function: Callable[[V, V], V], partitions: int | None = None
    ) -> "Dataset[tuple[K, V]]":
        """One `(key, value)` for every key, its values combined by the associative `function`.

        Keys are str, bytes, int, bool, None or tuples of them. `partitions` defaults to the job's setting.
        """
        _callable("reduce_by_key", function)
        if partitions is not None and not 1 <= partitions <= MAX_PARTITIONS:
            _wrong(f"reduce_by_key() takes 1 to {MAX_PARTITIONS} partitions, not {partitions!r}")
        return Dataset(self._run, Chain(Shuffle("reduce_by_key", here(), function, self._chain, partitions)))

    def count(self) -> int:
        """How many records there are."""
        return cast(int, self._act("count"))

    def sum(self) -> Any:
        """The sum of the records; 0 if there are none."""
        return self._act("sum")

    def mean(self) -> Any:
        """The sum of the records divided by their count. An error if there are none."""
        return self._act("mean")

    def min(self, key: Callable[[T], Any] | None = None) -> T:
        """The least record, or the one with the least `key(record)`. An error if there are none."""
        return cast(T, self._act("min", key))

    def max(self, key: Callable[[T], Any] | None = None) -> T:
        """The greatest record, or the one with the greatest `key(record)`. An error if there are none."""
        return cast(T, self._act("max", key))

    def top(self, amount: int, key: Callable[[T], Any] | None = None) -> list[T]:
        """The `amount` greatest records, greatest first; ties are always settled the same way."""
        return cast(list[T], self._act("top", key, amount=amount))

    def take(self, amount: int) -> list[T]:
        """The first `amount` records."""
        return cast(list[T], self._act("take", amount=amount))

    def collect(self) -> list[T]:
        """All records, in the order of the partitions, if they fit in 8 MiB; use `save` for more."""
        return cast(list[T], self._act("collect"))

    def reduce(self, function: Callable[[T, T], T]) -> T:
        """All records combined by the associative `function`, in order. An error if there are none."""
        _callable("reduce", function)
        return cast(T, self._act("reduce", function))

    def save(self, form: str = "json") -> None:
        """Writes the records to the files of the job's result, one per partition, as lines of "json" or "text"."""
        if form not in ("json", "text"):
            _wrong(f"save() writes 'json' or 'text', not {form!r}")
        self._act("save", form=form)

    def _with(
        self, name: str, function: Callable[..., Any] | None = None, on_error: str = "fail", fraction: float = 1.0
    ) -> "Dataset[Any]":
        if name != "sample":
            _callable(name, function)
        if len(self._chain.operations) >= MAX_OPERATIONS:
            _wrong(f"more than {MAX_OPERATIONS} operations in a row: combine some into one function")
        operation = Operation(name, here(), function, fraction, _skips(name, on_error))
        return Dataset(self._run, self._chain._replace(operations=(*self._chain.operations, operation)))

    def _act(self, name: str, function: Callable[..., Any] | None = None, amount: int = 1, form: str = "") -> Any:
        if function is not None:
            _callable(name, function)
        if type(amount) is not int or amount < 1:
            _wrong(f"{name}() takes a number of records, 1 or more, not {amount!r}")
        if self._run.replays:
            return self._run.replay(name)
        return self._run.act(self._chain, Action(name, here(), function, amount, form))

    def __iter__(self) -> NoReturn:
        _wrong("records are elsewhere and cannot be looped over: use an operation, or .collect() for a few")

    def __bool__(self) -> NoReturn:
        _wrong("it is not known yet whether there are records: ask .count()")


class Inputs(Sequence[Input]):
    """The job's inputs, with the methods that make datasets: from these inputs, or from given numbers or items."""

    def __init__(self, run: Run, inputs: Sequence[Input]) -> None:
        self._run = run
        self._inputs = inputs

    def __len__(self) -> int:
        return len(self._inputs)

    def __getitem__(self, index: Any) -> Any:
        return self._inputs[index]

    def lines(self, input: int | str | None = None) -> Dataset[str]:
        """The lines of one input (by number or name) or of all, without line ends, which are LF or CR LF. Compressed
        files (gz, bz2, xz) are unpacked; what is not UTF-8 is replaced.
        """
        return self._of_bytes("lines", input)

    def records(self, input: int | str | None = None, on_error: OnError = "fail") -> Dataset[Any]:
        """One JSON value per line; empty lines are ignored. A line that is no JSON is an error."""
        return self._of_bytes("records", input, on_error)

    def chunks(self, input: int | str | None = None) -> Dataset[bytes]:
        """Pieces of the inputs, unpacked, as bytes, cut at line ends, each about as large as a partition."""
        return self._of_bytes("chunks", input)

    def files(self, input: int | str | None = None) -> Dataset[tuple[str, bytes]]:
        """`(path, bytes)` of whole files, as they are; a file is never split, nor unpacked."""
        return self._of_bytes("files", input)

    def range(self, *bounds: int) -> Dataset[int]:
        """The numbers of Python's `range`. Needs no input."""
        items = range(*bounds)
        if count_of(items) >= MAX_ITEMS:
            _wrong(f"{items} has {count_of(items)} items, and fewer than {MAX_ITEMS} are allowed")
        return self._of_items("range", items)

    def params(self, items: Iterable[T]) -> Dataset[T]:
        """The given items, for parameter sweeps. Needs no input."""
        return self._of_items("params", list(map(plain, items)))

    def _of_items(self, name: str, items: Sequence[Any]) -> Dataset[Any]:
        return Dataset(self._run, Chain(Source(name, here(), None, items)))

    def _of_bytes(self, name: str, which: int | str | None, on_error: str = "fail") -> Dataset[Any]:
        assert name in OF_BYTES
        place = here()
        if not self._inputs:
            _wrong(f"{name}() reads the job's inputs and there are none: give --input LINK_OR_PATH")
        skips = _skips(name, on_error)
        operations = (Operation(name, place, json_value, skips=skips),) if name == "records" else ()
        return Dataset(self._run, Chain(Source(name, place, self._number(which)), operations))

    def _number(self, which: int | str | None) -> int | None:
        if isinstance(which, str):
            names = [one.name for one in self._inputs]
            if which not in names:
                _wrong(f"there is no input {which!r}: the inputs are {', '.join(names)}")
            return names.index(which)
        if which is not None and not 0 <= which < len(self._inputs):
            _wrong(f"there is no input {which}: they are numbered 0 to {len(self._inputs) - 1}")
        return which


MAX_OPERATIONS = 200
MAX_PARTITIONS = 4096
MAX_ITEMS = 2**53


def _callable(name: str, function: object) -> None:
    if not callable(function):
        _wrong(f"{name}() takes a function, not {type(function).__name__}")


def _skips(name: str, on_error: str) -> bool:
    if on_error not in ("fail", "skip"):
        _wrong(f"{name}() takes on_error='fail' or 'skip', not {on_error!r}")
    return on_error == "skip"


def _wrong(text: str) -> NoReturn:
    raise JobFault(text, place=here())
