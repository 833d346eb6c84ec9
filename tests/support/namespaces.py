"""A local network of two hosts on this machine: network namespaces with a cable between, removed after the test."""

import itertools
import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

_numbers = itertools.count()
CABLE = "cable"


class Host:
    """A network namespace: its own loopback, and one end of the cable."""

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    def inside(self) -> tuple[str, ...]:
        """The words before a command that make it run in this namespace."""
        return "ip", "netns", "exec", self.name

    def ip(self, *arguments: str) -> None:
        """Runs `ip` in this namespace."""
        subprocess.run(["ip", "-n", self.name, *arguments], check=True, capture_output=True, text=True)

    def set_address(self, address: str) -> None:
        """Adds an address, such as 10.0.0.1/24 or fe80::1/64, that can be used at once."""
        self.ip("address", "add", address, "dev", CABLE, *(["nodad"] if ":" in address else []))


@contextmanager
def two_hosts() -> Iterator[tuple[Host, Host]]:
    """Makes two hosts with a cable between them and no address on it. Skips the test if that is not permitted."""
    with ExitStack() as stack:
        one, other = (stack.enter_context(_host()) for _ in range(2))
        one.ip("link", "add", CABLE, "type", "veth", "peer", "name", CABLE, "netns", other.name)
        for host in (one, other):
            host.ip("link", "set", "lo", "up")
            host.ip("link", "set", CABLE, "addrgenmode", "none")
            host.ip("link", "set", CABLE, "up")
        yield one, other


@contextmanager
def _host() -> Iterator[Host]:
    name = f"shoal-test-{os.getpid()}-{next(_numbers)}"
    try:
        made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("needs `ip` of iproute2")
    if made.returncode:
        pytest.skip(f"needs the right to make network namespaces: {made.stderr.strip()}")
    try:
        yield Host(name)
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=True)
