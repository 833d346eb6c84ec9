"""What the tests of recorded messages share: the files, a key to sign with, and samples of structs."""

import json
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec.structs import fields

from p2p.identity import Identity

GOLDEN = Path(__file__).parents[1] / "golden"
SIGNER = Identity.of(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))

S = TypeVar("S", bound=msgspec.Struct)


def load(name: str) -> Any:
    return json.loads((GOLDEN / name).read_text())


def save(folder: Path, name: str, value: Any) -> None:
    (folder / name).write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def tag_of(kind: type[msgspec.Struct]) -> str:
    """The tag that distinguishes a struct from the others of its union."""
    return str(kind.__struct_config__.tag)


def samples(full: S) -> list[S]:
    """The struct as it is, and one with only the required fields."""
    required = {field.name: getattr(full, field.name) for field in fields(full) if field.required}
    return [full] if len(required) == len(fields(full)) else [full, type(full)(**required)]


def left_out(value: Any, where: str = "") -> list[str]:
    """The fields of a struct, and of all structs in it, that have their default."""
    if isinstance(value, tuple | list):
        return [found for one in value for found in left_out(one, f"{where}[]")]
    if not isinstance(value, msgspec.Struct):
        return []
    found = []
    for field in fields(value):
        here = getattr(value, field.name)
        default = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
        found += [f"{where}.{field.name}"] if here == default else left_out(here, f"{where}.{field.name}")
    return found
