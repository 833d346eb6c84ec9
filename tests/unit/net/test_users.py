"""Whose a connection is, from the tables of the kernel."""

import sys

import pytest

from p2p.net.users import End, owner_in

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode"
V4 = "   1: 0100007F:D431 0100007F:1D33 01 00000000:00000000 00:00000000 00000000  1000        0 6322736 1 0 20"
SERVER_SIDE = V4.replace("0100007F:D431 0100007F:1D33", "0100007F:1D33 0100007F:D431").replace(" 1000 ", "    7 ")
CLOSING = V4.replace(" 1000 ", "    0 ").replace("6322736", "0")
MAPPED = V4.replace("0100007F", "0000000000000000FFFF00000100007F").replace(" 1000 ", "   33 ")
V6 = V4.replace("0100007F", "00000000000000000000000001000000").replace(" 1000 ", "   44 ")
CLIENT, SERVER = ("127.0.0.1", 0xD431), ("127.0.0.1", 0x1D33)


@pytest.mark.skipif(sys.byteorder == "big", reason="the lines are those of a machine with small ends first")
@pytest.mark.parametrize(
    ("lines", "client", "server", "owner"),
    [
        ([HEAD, SERVER_SIDE, V4], CLIENT, SERVER, 1000),
        ([HEAD, SERVER_SIDE], CLIENT, SERVER, None),
        ([HEAD, CLOSING], CLIENT, SERVER, None),
        ([HEAD, CLOSING, V4], CLIENT, SERVER, 1000),
        ([HEAD, V4], ("127.0.0.1", 1), SERVER, None),
        ([HEAD, V4], ("127.0.0.2", 0xD431), SERVER, None),
        ([HEAD, MAPPED], CLIENT, SERVER, 33),
        ([HEAD, V4], ("::ffff:127.0.0.1", 0xD431), SERVER, 1000),
        ([HEAD, V6], ("::1", 0xD431), ("::1", 0x1D33), 44),
        (["", "nonsense"], CLIENT, SERVER, None),
    ],
)
def test_the_client_end_of_a_connection_has_an_owner(
    lines: list[str], client: End, server: End, owner: int | None
) -> None:
    assert owner_in(lines, client, server) == owner
