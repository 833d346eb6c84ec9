"""Values of a job's code in a form in which they can be compared with what they were before."""

import gc
import marshal
from binascii import crc32
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, count, islice
from operator import length_hint
from random import Random
from types import AsyncGeneratorType, CellType, CoroutineType, FrameType, GeneratorType
from typing import Any

from p2p.jobs.codec import LEAVES

_PYTHONS = frozenset(
    {
        "__annotate__",
        "__annotations__",
        "__builtins__",
        "__conditional_annotations__",
        "__path__",
        "__warningregistry__",
    }
)


def is_pythons(name: str) -> bool:
    """Whether Python itself changes the variable of this name in a module."""
    return name in _PYTHONS


def is_special(name: str) -> bool:
    """Whether a name has the form of those that Python defines."""
    return name.startswith("__") and name.endswith("__")


def same(names: Mapping[str, Any], values: list[Any]) -> bool:
    try:
        return [*names.values()] == values  # compares by identity first, so hardly ever runs code of the job
    except Exception:  # noqa: BLE001  it did, and may raise anything
        return False


def equal(old: object, new: object) -> bool:
    return old is new or (type(old) is type(new) and type(old) in LEAVES and old == new)


def of_plain(value: Any) -> tuple[int, int]:
    """A checksum and a size. Raises ValueError if there is something inside that is not plain."""
    if isinstance(value, dict):
        value = dict(value)
    elif type(value) not in (list, set, tuple, frozenset):
        value = list(value)
    data = marshal.dumps(value, 2)
    return crc32(data), len(data)


def of_items(value: Any) -> Any:
    return list(map(leaf, chain(value, value.values()) if isinstance(value, dict) else value))


def content(cell: CellType) -> object:
    try:
        return cell.cell_contents
    except ValueError:
        return None


def of_cell(cell: CellType) -> Any:
    return leaf(content(cell))


def of_slots(names: Sequence[str], value: Any) -> Any:
    return [leaf(getattr(value, name, None)) for name in names]


def slots_of(kind: type) -> Sequence[str]:
    slots = vars(kind).get("__slots__", ())
    return [slots] if isinstance(slots, str) else [name for name in slots if not is_special(name)]


def of_random(generator: Random) -> Any:
    try:
        return hash(generator.getstate())
    except NotImplementedError:  # SystemRandom has no state
        return 0


def of_iterator(iterator: Any) -> Any:
    if isinstance(iterator, FRAMED):
        frame = _frame(iterator)
        if frame is None:
            return None
        return frame.f_lasti, [leaf(one) for one in frame.f_locals.values()]
    if isinstance(iterator, count):
        return repr(iterator)
    return length_hint(iterator, -1), [leaf(one) for one in gc.get_referents(iterator)]


def behind(iterator: Any) -> list[Any]:
    if isinstance(iterator, FRAMED):
        frame = _frame(iterator)
        return [] if frame is None else list(frame.f_locals.values())
    return [one for one in gc.get_referents(iterator) if not isinstance(one, type)]


def leaf(value: object) -> Any:
    """A value by what it is, or by its identity; the State keeps whatever could lose its identity."""
    return (type(value), value) if type(value) in LEAVES else id(value)


def attributes_of(value: object) -> object:
    try:
        return object.__getattribute__(value, "__dict__")
    except AttributeError:
        return None


def held_by(value: object) -> list[tuple[str, object]]:
    """The attributes of an object, by name."""
    attributes = attributes_of(value)
    slots = [name for cls in type(value).__mro__ for name in slots_of(cls)]
    return [
        *(attributes.items() if isinstance(attributes, dict) else ()),
        *((name, getattr(value, name, None)) for name in slots),
    ]


def of_numpy_random(generator: Any) -> str:
    return repr(generator.bit_generator.state)


def of_array(array: Any) -> int:
    return crc32(array.tobytes()) if hasattr(array, "tobytes") else 0


def of_buffer(value: Any) -> Any:
    if hasattr(value, "getvalue"):
        return value.closed or (value.tell(), value.getvalue())
    return crc32(value.tobytes()) if hasattr(value, "tobytes") else None


FRAMED = (GeneratorType, CoroutineType, AsyncGeneratorType)


def _frame(iterator: Any) -> FrameType | None:
    for name in ("gi_frame", "cr_frame", "ag_frame"):
        if hasattr(iterator, name):
            return getattr(iterator, name)  # type: ignore[no-any-return]
    return None


def of_bytes(value: Any) -> int:
    """A checksum of what an object holds that gives others access to its bytes."""
    return crc32(value)


def of_exception(error: BaseException) -> Any:
    return [*map(leaf, error.args), *map(leaf, vars(error).values())]


def of_opaque(value: Any) -> Any:
    """What the usual methods of objects that are otherwise closed tell."""
    return [getattr(value, name)() for name in TELLING if hasattr(value, name)]


TELLING = ("digest", "locked", "qsize")


def of_variable(variable: Any) -> Any:
    return leaf(variable.get(None))


def of_cache(cached: Any) -> Any:
    return cached.cache_info()


def of_name(name: str, names: Any) -> Any:
    return leaf(names.get(name))


def results_of(cached: Any) -> list[Any]:
    """Some of the results that a function of `functools.cache` or `lru_cache` keeps."""
    info = cached.cache_info()
    if info.maxsize is None:
        held = [one for one in gc.get_referents(cached) if type(one) is dict]
        return list(chain.from_iterable(islice(one.values(), _MAX_RESULTS) for one in held))
    if info.currsize > _MAX_BOUNDED:
        return []
    return [one for one in gc.get_referents(cached) if not (type(one) is dict and _is_index(one))]


def _is_index(held: dict[Any, Any]) -> bool:
    """Whether a dict is that in which a bounded cache finds its results."""
    return not held or any(type(one).__name__ == "_lru_list_elem" for one in islice(held.values(), 1))


_MAX_BOUNDED, _MAX_RESULTS = 512, 8


def value_at(names: Mapping[str, Any], name: str) -> tuple[object, ...]:
    return (names[name],) if name in names else ()


def has_bytes(value: Any) -> bool:
    try:
        with memoryview(value) as shown:
            return shown.c_contiguous
    except (TypeError, ValueError, BufferError):
        return False


class Without(Mapping[str, Any]):
    """A mapping without some of its names."""

    def __init__(self, names: Mapping[str, Any], left_out: set[str]) -> None:
        self._names, self._left_out = names, left_out

    def __getitem__(self, name: str) -> Any:
        if name in self._left_out:
            raise KeyError(name)
        return self._names[name]

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._names if name not in self._left_out)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def of_settings(context: Any) -> Any:
    """The settings of a context of `decimal`, without what its flags tell of the last calculations."""
    return [getattr(context, name, None) for name in _SETTINGS]


_SETTINGS = ("prec", "rounding", "Emin", "Emax", "capitals", "clamp")


def of_pickled(value: object) -> Any:
    """What an object that is written in C would be pickled as."""
    return list(map(leaf, pickled(value)))


def is_pickled_alike(value: object) -> bool:
    """Whether an object tells how to pickle it, and each time with the same parts: not with an iterator, say."""
    first, again = (
        pickled(value),
        pickled(value),
    )  # both alive, so no two parts have one identity
    return bool(first) and list(map(leaf, first)) == list(map(leaf, again))


def pickled_by(kind: type) -> list[str]:
    """The packages of the classes that decide what an object of this class is pickled as, besides `object`."""
    return [cls.__module__.partition(".")[0] for cls in kind.__mro__[:-1] if not _PICKLING.isdisjoint(vars(cls))]


_PICKLING = frozenset({"__reduce_ex__", "__reduce__", "__getstate__"})


def pickled(value: object) -> list[object]:
    """The first of the parts that an object consists of, and how many there are in each container."""
    found: list[object] = []
    try:
        level: list[object] = [value.__reduce_ex__(2)]
    except Exception:  # noqa: BLE001  code of any type, which may raise anything
        return found
    while level and len(found) < _MAX_PARTS:
        below: list[object] = []
        for one in level:
            if isinstance(one, list | tuple | dict):
                found.append(len(one))
                inner = chain(one, one.values()) if isinstance(one, dict) else one
                below += islice(inner, _MAX_PARTS)
            else:
                found.append(one)
        level = below
    return found[:_MAX_PARTS]


_MAX_PARTS = 2048
