"""The key of a peer: made once, private, and what its signatures and certificates are worth."""

import os
import stat
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from p2p import identity
from p2p.errors import IdentityError, MalformedMessage
from p2p.homes import KEY_FILE
from p2p.identity import CERTIFICATE_FILE, Identity
from p2p.ids import PeerId
from tests.support.manifests import mutations

ALICE = Identity.of(ed25519.Ed25519PrivateKey.from_private_bytes(bytes(31) + b"\x01"))
BOB = Identity.of(ed25519.Ed25519PrivateKey.from_private_bytes(bytes(31) + b"\x02"))


def der_of(pem: bytes) -> bytes:
    return x509.load_pem_x509_certificate(pem).public_bytes(serialization.Encoding.DER)


DER = der_of(ALICE.certificate())


def test_the_key_is_made_once_and_private(tmp_path: Path) -> None:
    first = identity.load_or_create(tmp_path)
    assert identity.load_or_create(tmp_path).peer_id == first.peer_id
    assert stat.S_IMODE((tmp_path / KEY_FILE).stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [KEY_FILE]


def test_two_homes_have_two_keys(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert identity.load_or_create(tmp_path / "a").peer_id != identity.load_or_create(tmp_path / "b").peer_id


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    identity.load_or_create(tmp_path)
    (tmp_path / KEY_FILE).chmod(0o644)
    with pytest.raises(IdentityError, match="chmod 600"):
        identity.load_or_create(tmp_path)


def write_key(home: Path, content: bytes) -> None:
    path = home / KEY_FILE
    path.write_bytes(content)
    path.chmod(0o600)


def test_a_pipe_in_place_of_the_key_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / KEY_FILE, 0o600)
    with pytest.raises(IdentityError, match="is not a key"):
        identity.load_or_create(tmp_path)


def test_a_broken_key_is_explained_and_kept(tmp_path: Path) -> None:
    write_key(tmp_path, b"not a key")
    with pytest.raises(IdentityError, match="is not a key"):
        identity.load_or_create(tmp_path)
    assert (tmp_path / KEY_FILE).read_bytes() == b"not a key"


def test_a_key_of_another_kind_is_refused(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    write_key(
        tmp_path,
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )
    with pytest.raises(IdentityError, match="not an Ed25519 key"):
        identity.load_or_create(tmp_path)


def test_an_encrypted_key_is_refused(tmp_path: Path) -> None:
    encryption = serialization.BestAvailableEncryption(b"secret")
    write_key(
        tmp_path,
        ALICE.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption),
    )
    with pytest.raises(IdentityError, match="is not a key"):
        identity.load_or_create(tmp_path)


def test_a_home_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(IdentityError, match="Cannot write this peer's key"):
        identity.load_or_create(tmp_path / "nowhere")


def test_the_certificate_is_kept_while_it_fits(tmp_path: Path) -> None:
    path = identity.write_certificate(ALICE, tmp_path)
    assert path == tmp_path / CERTIFICATE_FILE
    written = path.read_bytes()
    assert identity.key_of_certificate(der_of(written)) == ALICE.peer_id
    inode = os.stat(path).st_ino
    identity.write_certificate(ALICE, tmp_path)
    assert os.stat(path).st_ino == inode
    identity.write_certificate(BOB, tmp_path)
    assert identity.key_of_certificate(der_of(path.read_bytes())) == BOB.peer_id


@given(st.binary(min_size=32, max_size=32))
def test_key_and_certificate_are_those_that_cryptography_writes(private: bytes) -> None:
    key = ed25519.Ed25519PrivateKey.from_private_bytes(private)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "shoal")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, datetime(2000, 1, 1), datetime(2100, 1, 1))
    certificate = builder.sign(key, None)
    assert Identity.of(key).certificate() == certificate.public_bytes(serialization.Encoding.PEM)
    assert Identity.of(key).key_pem() == key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    certificate.verify_directly_issued_by(certificate)


def test_a_key_that_another_program_wrote_is_read(tmp_path: Path) -> None:
    write_key(tmp_path, b"A comment.\r\n" + ALICE.key_pem().replace(b"\n", b"\r\n"))
    assert identity.load_or_create(tmp_path).peer_id == ALICE.peer_id


def test_a_certificate_of_another_form_is_on_its_key() -> None:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "somebody")])
    builder = x509.CertificateBuilder(name, name, BOB.key.public_key(), 7, datetime(2000, 1, 1), datetime(2001, 1, 1))
    der = builder.sign(ALICE.key, None).public_bytes(serialization.Encoding.DER)
    assert identity.key_of_certificate(der) == BOB.peer_id


def test_a_broken_certificate_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / CERTIFICATE_FILE).write_bytes(b"broken")
    path = identity.write_certificate(ALICE, tmp_path)
    assert identity.key_of_certificate(der_of(path.read_bytes())) == ALICE.peer_id


@given(st.binary(max_size=64))
def test_signatures(data: bytes) -> None:
    signature = ALICE.sign(data)
    assert identity.verify(ALICE.peer_id, signature, data)
    assert not identity.verify(BOB.peer_id, signature, data)
    assert not identity.verify(ALICE.peer_id, signature, data + b"x")


@given(st.binary(max_size=70), st.binary(max_size=70))
def test_no_bytes_are_a_signature_by_chance(peer_id: bytes, signature: bytes) -> None:
    assert not identity.verify(PeerId(peer_id), signature, b"data")
    assert not identity.verify(ALICE.peer_id, signature, b"data")


SMALL_ORDER = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
]


@pytest.mark.parametrize("sign", [0, 0x80])
@pytest.mark.parametrize("key", SMALL_ORDER)
def test_a_key_that_anybody_can_sign_for_is_refused(key: str, sign: int) -> None:
    """With R and A of small order and S zero, a signature holds for one message in eight or more."""
    weak = bytearray.fromhex(key)
    weak[31] |= sign
    for point in SMALL_ORDER:
        signature = bytes.fromhex(point) + bytes(32)
        assert not any(identity.verify(PeerId(bytes(weak)), signature, bytes([n])) for n in range(32))
    with pytest.raises(MalformedMessage):
        identity.key_of_certificate(DER.replace(ALICE.peer_id, bytes(weak)))


def test_a_certificate_on_another_kind_of_key_is_malformed() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    mine = x509.load_der_x509_certificate(DER)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(mine.subject)
        .issuer_name(mine.subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(mine.not_valid_before_utc)
        .not_valid_after(mine.not_valid_after_utc)
        .sign(ALICE.key, None)
    )
    with pytest.raises(MalformedMessage):
        identity.key_of_certificate(certificate.public_bytes(serialization.Encoding.DER))


def test_a_certificate_of_an_unknown_kind_is_malformed() -> None:
    ed25519_oid, unknown_oid = bytes.fromhex("06032b6570"), bytes.fromhex("06032b6577")
    with pytest.raises(MalformedMessage):
        identity.key_of_certificate(DER.replace(ed25519_oid, unknown_oid))


@given(st.binary(max_size=100) | mutations(DER))
def test_any_bytes_are_a_certificate_or_malformed(der: bytes) -> None:
    with suppress(MalformedMessage):
        assert len(identity.key_of_certificate(der)) == 32
