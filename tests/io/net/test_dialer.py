"""Real TLS over loopback: who is accepted and who is not, by dialer and by listener."""

import datetime
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing, suppress
from functools import partial
from pathlib import Path

import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from p2p.errors import MalformedMessage, OwnAddress, PeerError, PeerGone, ProtocolViolation
from p2p.net import dialer as dialer_module
from p2p.net import listener
from p2p.net.connection import Connection
from p2p.net.dialer import Dialer, wrap
from p2p.net.listener import Admission
from p2p.wire import frames
from p2p.wire.address import Address
from p2p.wire.messages import Want
from tests.support.constants import Shorten
from tests.support.pipes import NETWORK, endlessly, make_dialer

Serve = Callable[[trio.SocketStream], Awaitable[None]]


@asynccontextmanager
async def listening(at: Dialer) -> AsyncIterator[Address]:
    """A listener of this identity that says `Want(1, 1)` to whoever has proven itself, and waits for the end."""

    async def welcome(connection: Connection) -> None:
        await connection.send(Want(first=1, count=1))
        await connection.receive()

    async with trio.open_nursery() as nursery:
        listeners = await listener.open_listeners([Address("127.0.0.1", 0)])
        address = listener.bound_address(listeners[0])
        at.port = address.port
        await nursery.start(listener.run, listeners, at, Admission(100, 100, 100), welcome)
        yield address
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def plain_listener(serve: Serve) -> AsyncIterator[Address]:
    """A TCP listener that does something else."""
    async with trio.open_nursery() as nursery:
        (stream_listener,) = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        yield listener.bound_address(stream_listener)
        nursery.cancel_scope.cancel()


async def works(connection: Connection) -> None:
    assert await connection.receive() == Want(first=1, count=1)


async def test_the_right_identity_is_accepted(tmp_path: Path) -> None:
    one, other = make_dialer(tmp_path / "one"), make_dialer(tmp_path / "other")
    async with listening(other) as address:
        for expected in (other.identity.peer_id, None):
            connection = await one.dial(address, expected)
            await works(connection)
            assert connection.ends.peer_id == other.identity.peer_id
            assert connection.ends.dialed
            assert connection.ends.remote_host == "127.0.0.1"
            assert connection.ends.hello.seen_host == "127.0.0.1"
            connection.close()


async def test_another_identity_than_expected_is_refused(tmp_path: Path) -> None:
    one, other = make_dialer(tmp_path / "one"), make_dialer(tmp_path / "other")
    third = make_dialer(tmp_path / "third").identity.peer_id
    async with listening(other) as address:
        with pytest.raises(ProtocolViolation, match="not "):
            await one.dial(address, third)


async def test_another_network_is_refused_by_both(tmp_path: Path) -> None:
    one, other = make_dialer(tmp_path / "one"), make_dialer(tmp_path / "other", "another")
    async with listening(other) as address:
        with pytest.raises(PeerError):
            await one.dial(address, other.identity.peer_id)


async def test_dialling_oneself_is_noticed(tmp_path: Path) -> None:
    one = make_dialer(tmp_path / "one")
    async with listening(one) as address:
        with pytest.raises(OwnAddress):
            await one.dial(address)


async def test_nobody_there(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(PeerGone, match=r"127\.0\.0\.1:\d+ cannot be reached: Connection refused"):
            await make_dialer(tmp_path / "one").dial(Address("127.0.0.1", taken.getsockname()[1]))


async def test_a_name_that_does_not_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def unknown(*_: object) -> object:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(trio.socket, "getaddrinfo", unknown)
    with pytest.raises(PeerGone, match="cannot be reached"):
        await make_dialer(tmp_path / "one").dial(Address("nowhere.invalid", 1))


@pytest.mark.parametrize(
    "junk",
    [
        b"",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        bytes(1000),
        bytes(range(256)) * 300,
        b"\x16\x03\x03\xff\xff" + bytes(9),
    ],
)
async def test_garbage_instead_of_tls(tmp_path: Path, junk: bytes) -> None:
    async def serve(stream: trio.SocketStream) -> None:
        await stream.send_all(junk)
        await stream.send_eof()

    async with plain_listener(serve) as address:
        with pytest.raises(PeerGone):
            await make_dialer(tmp_path / "one").dial(address)


async def test_a_listener_that_hangs_up_or_resets(tmp_path: Path) -> None:
    async def hang_up(stream: trio.SocketStream) -> None:
        await stream.aclose()

    async def reset(stream: trio.SocketStream) -> None:
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        stream.socket.close()

    for serve in (hang_up, reset):
        async with plain_listener(serve) as address:
            with pytest.raises(PeerGone):
                await make_dialer(tmp_path / "one").dial(address)


async def test_a_listener_that_never_answers(tmp_path: Path, shorten: Shorten) -> None:
    shorten(dialer_module, "HANDSHAKE_TIMEOUT_S", 0.1)

    async def serve(_: trio.SocketStream) -> None:
        await trio.sleep_forever()

    async with plain_listener(serve) as address:
        with pytest.raises(PeerGone, match="did not answer within"):
            await make_dialer(tmp_path / "one").dial(address)


async def test_a_listener_that_stops_after_tls(tmp_path: Path, shorten: Shorten) -> None:
    shorten(dialer_module, "HANDSHAKE_TIMEOUT_S", 0.3)
    other = make_dialer(tmp_path / "other")

    async def serve(stream: trio.SocketStream) -> None:
        secure = wrap(stream.socket, other.contexts, server=True)
        await secure.handshake(NETWORK)
        try:
            await trio.sleep_forever()
        finally:
            secure.close()

    async with plain_listener(serve) as address:
        with pytest.raises(PeerGone, match="did not answer within"):
            await make_dialer(tmp_path / "one").dial(address)


async def test_few_dials_at_once(tmp_path: Path, shorten: Shorten) -> None:
    shorten(dialer_module, "HANDSHAKE_TIMEOUT_S", 0.2)
    now = most = 0

    async def serve(stream: trio.SocketStream) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        try:
            with suppress(trio.BrokenResourceError):
                while await stream.receive_some():
                    pass
        finally:
            now -= 1

    one = make_dialer(tmp_path / "one")
    async with plain_listener(serve) as address, trio.open_nursery() as nursery:

        async def dial() -> None:
            with pytest.raises(PeerGone):
                await one.dial(address)

        for _ in range(2 * dialer_module.MAX_DIALS):
            nursery.start_soon(dial)
    assert 2 <= most <= dialer_module.MAX_DIALS + 1


async def test_silent_hosts_of_one_network_do_not_delay_dials_to_others(tmp_path: Path) -> None:
    """All dials at a time went to them, and each of those that waited took ten seconds."""
    one, at = make_dialer(tmp_path / "one"), make_dialer(tmp_path / "at")
    with closing(socket.create_server(("127.50.0.1", 0))) as silent:
        async with listening(at) as address, trio.open_nursery() as nursery:
            for _ in range(3 * dialer_module.MAX_DIALS):
                nursery.start_soon(one.dial, Address(*silent.getsockname()))
            await trio.testing.wait_all_tasks_blocked(0.05)
            with trio.fail_after(3):
                connection = await one.dial(address)
            connection.close()
            nursery.cancel_scope.cancel()


def other_certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate on an elliptic curve that is not ours."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "stranger")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime.datetime(2000, 1, 1))
        .not_valid_after(datetime.datetime(2100, 1, 1))
        .sign(key, hashes.SHA256())
    )
    paths = folder / "other.crt", folder / "other.key"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_listener_with_a_strangers_certificate_or_an_older_tls(tmp_path: Path, version: ssl.TLSVersion) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*other_certificate(tmp_path))
    context.set_alpn_protocols([f"shoal/2/{NETWORK}"])
    context.maximum_version = version

    async def serve(stream: trio.SocketStream) -> None:
        secure = trio.SSLStream(stream, context, server_side=True)
        try:
            await secure.do_handshake()
            await secure.receive_some()
        except trio.BrokenResourceError:
            pass
        finally:
            await trio.aclose_forcefully(secure)

    async with plain_listener(serve) as address:
        expected = MalformedMessage if version == ssl.TLSVersion.TLSv1_3 else PeerGone
        with pytest.raises(expected):
            await make_dialer(tmp_path / "one").dial(address)


@pytest.mark.parametrize("protocols", [None, ["http/1.1"], ["shoal/2/another"], ["shoal/2/"], [f"shoal/1/{NETWORK}"]])
async def test_a_tls_client_that_speaks_something_else(tmp_path: Path, protocols: list[str] | None) -> None:
    """It is hung up on, whatever it says, and peers are served as before."""
    other = make_dialer(tmp_path / "other")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if protocols is not None:
        context.set_alpn_protocols(protocols)
    async with listening(other) as address:
        tcp = await trio.open_tcp_stream(address.host, address.port)
        async with trio.SSLStream(tcp, context, https_compatible=True) as stream:
            heard = b""
            try:
                await stream.send_all(b"GET / HTTP/1.1\r\n\r\n")
                while data := await stream.receive_some():
                    heard += data
            except (trio.BrokenResourceError, ssl.SSLError):
                pass
        # Nothing of ours was said, not even a challenge.
        assert heard == b""
        connection = await make_dialer(tmp_path / "one").dial(address)
        await works(connection)
        connection.close()


@pytest.mark.parametrize("junk", [b"", b"\0" * 100, b"GET / HTTP/1.0\r\n\r\n", bytes(range(256)) * 1000])
async def test_garbage_towards_the_listener(tmp_path: Path, junk: bytes) -> None:
    other = make_dialer(tmp_path / "other")
    async with listening(other) as address:
        async with await trio.open_tcp_stream(address.host, address.port) as stream:
            try:
                await stream.send_all(junk)
                await stream.send_eof()
                while await stream.receive_some():
                    pass
            except trio.BrokenResourceError:
                pass
        connection = await make_dialer(tmp_path / "one").dial(address)
        await works(connection)
        connection.close()


async def test_garbage_inside_tls_before_the_proof(tmp_path: Path) -> None:
    one, other = make_dialer(tmp_path / "one"), make_dialer(tmp_path / "other")
    async with listening(other) as address:
        tcp = await trio.open_tcp_stream(address.host, address.port)
        stream = wrap(tcp.socket, one.contexts, server=False)
        await stream.handshake(NETWORK)
        await stream.send_all(struct.pack(">IBH", frames.MAX_HANDSHAKE_BYTES + 1, 0, 0) + bytes(100))
        connection = Connection(stream)
        with pytest.raises(PeerGone):
            await endlessly(connection.receive)
        stream.close()
        connection = await one.dial(address)
        await works(connection)
        connection.close()


async def test_a_listener_of_before_is_said_to_be_outdated(tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*other_certificate(tmp_path))
    context.set_alpn_protocols([f"shoal/1/{NETWORK}"])

    async def serve(stream: trio.SocketStream) -> None:
        secure = trio.SSLStream(stream, context, server_side=True)
        with suppress(trio.BrokenResourceError):
            await secure.do_handshake()
            await secure.receive_some()
        await trio.aclose_forcefully(secure)

    async with plain_listener(serve) as address:
        with pytest.raises(ProtocolViolation, match="has to be updated"):
            await make_dialer(tmp_path / "one").dial(address)
