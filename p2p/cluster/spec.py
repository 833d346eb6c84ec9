"""What a user specifies for a cluster, as it is sent over the control socket."""

from typing import Annotated, Literal, get_args

import msgspec

EngineName = Literal["dask"]
ENGINES: tuple[str, ...] = get_args(EngineName)
MAX_WORKERS = 253
"""Members besides the owner's own, which has number 0."""
Name = Annotated[str, msgspec.Meta(pattern=r"^([a-z0-9][a-z0-9-]{0,31})?\Z")]


class ClusterSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A cluster; sizes are in bytes, times in seconds. Paths are absolute."""

    engine: EngineName
    name: Name = ""
    """Empty: the engine's name, with a number where that is taken."""
    members: Annotated[int, msgspec.Meta(ge=0, le=MAX_WORKERS)] = 1
    """How many machines of other peers at first. The owner's own is one more: it has what the engine has one of."""
    cores: Annotated[int, msgspec.Meta(ge=1, le=4096)] = 1
    """Cores, memory and disk of each member."""
    memory: Annotated[int, msgspec.Meta(ge=64 << 20)] = 2 << 30
    disk: Annotated[int, msgspec.Meta(ge=1 << 20)] = 4 << 30
    environment: str
    """The folder of a Python environment that has the engine. It is packed, and sent to the members."""
    include: tuple[str, ...] = ()
    """Files of the environment that go along though they look like secrets."""
    peers: tuple[str, ...] = ()
    """Peers to ask first, as PEER@HOST:PORT; they are taken as if they were listed."""
    seconds: float = 0
    """For how long it is to last; 0: until it is stopped."""
    wait_s: float = 60
    """How long to look for members."""
