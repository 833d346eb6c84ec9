"""Two machines on one local network need no other configuration: network namespaces, and the real command in each."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.namespaces import CABLE, Host, two_hosts
from tests.support.processes import SHOAL, Peer, Running, make_file, until
from tests.support.programs import lan_listener

V4 = ("10.77.0.1/24", "10.77.0.2/24")
V6 = ("fe80::77:1/64", "fe80::77:2/64")
PUBLIC = ("198.51.100.1/24", "198.51.100.2/24")
EVERYWHERE = {"SHOAL_NETWORK_LISTEN": ""}
"""As without any setting: all addresses."""


@pytest.fixture
def hosts() -> Iterator[tuple[Host, Host]]:
    with two_hosts() as made:
        yield made


def peer(folder: Path, host: Host) -> Peer:
    """A peer on that host, that has nothing but its local network to find others."""
    environment = EVERYWHERE | {"SHOAL_NETWORK_DHT": "false"}
    return Peer(folder / host.name, lan=True, environment=environment, command=(*host.inside, *SHOAL))


def neighbours(of: Peer) -> int:
    return int(of.run("status", "--json").json()["neighbours"])


def test_nodes_find_each_other_and_say_good_bye(tmp_path: Path, hosts: tuple[Host, Host]) -> None:
    """Public addresses will do: they are of one network."""
    for host, address in zip(hosts, PUBLIC, strict=True):
        host.set_address(address)
    one, other = (peer(tmp_path, host) for host in hosts)
    with one.node():
        assert neighbours(one) == 0
        with other.node() as leaving:
            until(lambda: neighbours(one) == 1 and neighbours(other) == 1, "the neighbour")
            assert "neighbours   1" in one.run("status").out
            assert leaving.end().code == 0
        until(lambda: neighbours(one) == 0, "the good-bye")


@pytest.mark.parametrize("addresses", [V4, V6], ids=["IPv4", "IPv6 alone"])
def test_a_share_is_found_by_its_id_alone(tmp_path: Path, hosts: tuple[Host, Host], addresses: tuple[str, str]) -> None:
    for host, address in zip(hosts, addresses, strict=True):
        host.set_address(address)
    origin, reader = (peer(tmp_path, host) for host in hosts)
    made = make_file(tmp_path / "data.bin", 3_000_000)
    with origin.sharing(made) as link:
        share_id = link.removeprefix("shoal:s/")[:52]
        (tmp_path / "out").mkdir()
        answer = reader.run("get", share_id, "--out", tmp_path / "out", "--wait", "30s", "--json").json()
    assert Path(answer["paths"][0]).read_bytes() == made.read_bytes()


def test_who_is_not_on_the_local_network_hears_and_says_nothing(tmp_path: Path, hosts: tuple[Host, Host]) -> None:
    """Who wants none, and who listens on loopback: that one has neighbours there."""
    for host, address in zip(hosts, V4, strict=True):
        host.set_address(address)
    one, other = (peer(tmp_path, host) for host in hosts)
    deaf, second, third = (
        Peer(tmp_path / name, lan=True, environment={"SHOAL_NETWORK_DHT": "false"}, command=(*hosts[0].inside, *SHOAL))
        for name in ("deaf", "second", "third")
    )
    with deaf.node("--no-lan", "--listen", "0.0.0.0:0"), one.node(), other.node(), second.node(), third.node():
        until(lambda: [neighbours(each) for each in (one, other, second, third)] == [1] * 4, "a neighbour each")
        assert neighbours(deaf) == 0


@pytest.fixture
def listener(hosts: tuple[Host, Host]) -> Iterator[Callable[[], str]]:
    """What a listener on the second host says, line by line; it looks for interfaces many times a second."""
    running = Running(
        subprocess.Popen(
            [*hosts[1].inside, sys.executable, lan_listener.__file__, "test-system"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
        )
    )
    try:
        yield running.line
    finally:
        running.close()


def test_interfaces_come_and_go(tmp_path: Path, hosts: tuple[Host, Host], listener: Callable[[], str]) -> None:
    """Whoever is there answers the hello on a new segment at once."""
    here, there = hosts
    here.set_address(V4[0])
    here.set_address(V6[0])
    assert listener() == "at nothing"
    with peer(tmp_path, here).node() as node:
        port = node.address.rpartition(":")[2]
        there.set_address(V4[1])
        assert listener() == "at 10.77.0.2"
        assert listener() == f"HERE {node.peer} 10.77.0.1 {port}"
        there.ip("address", "delete", V4[1], "dev", CABLE)
        assert listener() == "at nothing"
        there.set_address(V6[1])
        assert listener() == "at fe80::77:2"
        assert listener() == f"HERE {node.peer} fe80::77:1%{CABLE} {port}"
        there.ip("link", "set", CABLE, "down")
        assert listener() == "at nothing"
