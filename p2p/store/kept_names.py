"""How the names that differ from those in a share are kept in the database."""

import msgspec

from p2p.core.shares import names
from p2p.core.shares.local_names import Renames
from p2p.errors import StorageError

_decoder = msgspec.msgpack.Decoder(list[tuple[names.Path, str]])


def pack_names(changes: Renames) -> bytes:
    """The names as the database stores them; nothing for none."""
    return msgspec.msgpack.encode(sorted(changes.items())) if changes else b""


def unpack_names(packed: bytes) -> Renames:
    """The inverse of `pack_names`. Raises StorageError."""
    try:
        return dict(_decoder.decode(packed)) if packed else {}
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StorageError(f"The database of this home is damaged: names of files cannot be read ({error}).") from error
