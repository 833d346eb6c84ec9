"""What an engine is: its programs at the head (member 0) and at each worker, its ports, and its keys."""

from collections.abc import Mapping
from typing import Literal, NamedTuple, Protocol

from p2p.core.ledger import Room

HEAD = "m0"


class Program(NamedTuple):
    """A program to start in a member: it is ready once it has printed `ready`."""

    name: str
    argv: tuple[str, ...]
    ready: str
    variables: Mapping[str, str] = {}


class Port(NamedTuple):
    """A port of the head that programs outside of the cluster may reach: `scheme` is that of its URL."""

    what: str
    number: int
    scheme: str
    kind: Literal["raw", "web"]


class At(NamedTuple):
    """Where a program runs: the member's number, its room, and the folder of the environment's programs."""

    number: int
    room: Room
    bin: str
    label: str
    """What the engine is to call it."""

    @property
    def address(self) -> str:
        """The member's address in the network of the cluster."""
        return address(self.number)


class Engine(Protocol):
    """One engine."""

    @property
    def name(self) -> str: ...

    @property
    def package(self) -> str:
        """The package that the environment must have."""

    @property
    def requirement(self) -> str:
        """What pip installs so that the environment has it."""

    @property
    def ports(self) -> tuple[Port, ...]: ...

    @property
    def inside(self) -> Mapping[str, str]:
        """Variables with which programs of the owner's, run in its member, find the engine and its keys."""

    def keys(self) -> Mapping[str, bytes]:
        """Fresh secrets of a cluster, as files by their names. Members have them, and so have the owner's programs."""

    def head(self, at: At) -> tuple[Program, ...]:
        """What runs in the owner's own member, in this order."""

    def worker(self, at: At) -> tuple[Program, ...]:
        """What runs in each other member, once the head is ready."""


def address(index: int) -> str:
    """The address of a member."""
    return f"10.77.0.{index + 1}"


KEYS = "/etc/cluster"
"""Where members find the keys."""
