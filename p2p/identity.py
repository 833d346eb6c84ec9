"""A peer's identity: an Ed25519 key pair, kept in the peer's home in a file with mode 0600.

The key is created at the first start, atomically, so that two simultaneous starts get one key. The TLS certificate is
self-signed with the same key. Peers look only at the key in a certificate, never at its dates or names.

All that is in the two files besides the key is the same for every peer, so it stands here as bytes: to load the code
that can read and write any certificate takes longer than all else about a start's identity. Files and certificates
that others have made in another way are read by that code.
"""

import base64
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from p2p import causes
from p2p.errors import IdentityError, MalformedMessage
from p2p.homes import KEY_FILE
from p2p.ids import PeerId

CERTIFICATE_FILE = "certificate.pem"

KEY_BYTES, SIGNATURE_BYTES = 32, 64
_PRIVATE_KEY = bytes.fromhex("302e020100300506032b657004220420")
"""What precedes an Ed25519 private key in DER (RFC 8410, section 7)."""
_TO_BE_SIGNED = bytes.fromhex(
    "308181"
    "a003020102"  # version 3
    "020101"  # serial number 1
    "300506032b6570"  # signed with Ed25519
    "3010310e300c06035504030c0573686f616c"  # issuer: CN=shoal
    "3020170d3030303130313030303030305a180f32313030303130313030303030305a"  # valid from 2000 to 2100
    "3010310e300c06035504030c0573686f616c"  # subject: CN=shoal
    "302a300506032b6570032100"  # an Ed25519 public key
)
"""What precedes the public key in the part of a certificate that is signed (RFC 5280, section 4.1), in DER."""
_CERTIFICATE = bytes.fromhex("3081ce")
_SIGNATURE = bytes.fromhex("300506032b6570034100")
"""What stands between the signed part and an Ed25519 signature."""

_ANOTHER_HOME = "Choose another --home."
_READABLE = "Make it readable for you, or choose another --home."
_SMALL_ORDER = frozenset(
    int(number, 16).to_bytes(32, "big")[::-1]
    for number in (
        "0",
        "1",
        "05fc536d880238b13933c6d305acdfd5f098eff289f4c345b027b2c28f95e826",
        "7a03ac9277fdc74ec6cc392cfa53202a0f67100d760b3cba4fd84d3d706a17c7",
        "7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffec",
        "7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffed",
        "7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffee",
    )
)
"""The y coordinates of Ed25519's points of small order, including p and p + 1 (as in libsodium). OpenSSL accepts them
as public keys, and anybody can sign for them."""


@dataclass(frozen=True)
class Identity:
    """A peer's own key; `sign` is all that the rest of the peer needs of it."""

    key: Ed25519PrivateKey
    peer_id: PeerId

    @classmethod
    def of(cls, key: Ed25519PrivateKey) -> "Identity":
        return cls(key, PeerId(key.public_key().public_bytes_raw()))

    @classmethod
    def generate(cls) -> "Identity":
        return cls.of(Ed25519PrivateKey.generate())

    def sign(self, data: bytes) -> bytes:
        """The 64-byte Ed25519 signature. `data` starts with a purpose from `p2p.wire.signatures`."""
        return self.key.sign(data)

    def certificate(self) -> bytes:
        """The self-signed certificate for the key, as PEM: the same each time."""
        signed = _TO_BE_SIGNED + self.peer_id
        return _pem("CERTIFICATE", _CERTIFICATE + signed + _SIGNATURE + self.key.sign(signed))

    def key_pem(self) -> bytes:
        """The private key as PKCS 8 PEM, unencrypted: the file's mode protects it."""
        return _pem("PRIVATE KEY", _PRIVATE_KEY + self.key.private_bytes_raw())


def load_or_create(home: Path) -> Identity:
    """Loads the identity kept in `home`, or makes it on first start. Blocks on the disk. Raises IdentityError."""
    path = home / KEY_FILE
    try:
        if not path.exists():
            _create(path)
        mode = path.stat().st_mode
        if mode & 0o077:
            raise IdentityError(f"Others on this machine may read {path}. Make it private: chmod 600 {path}")
        pem = path.read_bytes() if not stat.S_ISFIFO(mode) else b""
    except OSError as error:
        raise IdentityError(
            f"Cannot read this peer's key {path}: {causes.explained(error, _ANOTHER_HOME, forbidden=_READABLE)}"
        ) from error
    try:
        key = _private_key(pem)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise IdentityError(
            f"{path} is not a key. Restore it from a backup, or move it away and this peer gets a new identity."
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise IdentityError(f"{path} is not an Ed25519 key. Move it away and this peer gets a new identity.")
    return Identity.of(key)


def _private_key(pem: bytes) -> object:
    """The key in a file. Raises ValueError, TypeError, UnsupportedAlgorithm."""
    body = b"".join(pem.splitlines()[1:-1])
    try:
        der = base64.b64decode(body, validate=True)
    except ValueError:
        der = b""
    raw = der.removeprefix(_PRIVATE_KEY)
    if len(raw) == KEY_BYTES and pem == _pem("PRIVATE KEY", der):
        return Ed25519PrivateKey.from_private_bytes(raw)
    from cryptography.hazmat.primitives import serialization

    return serialization.load_pem_private_key(pem, None)


def _create(path: Path) -> None:
    try:
        _write_new(path, Identity.generate().key_pem())
    except OSError as error:
        raise IdentityError(
            f"Cannot write this peer's key {path}: {causes.explained(error, _ANOTHER_HOME, forbidden=_ANOTHER_HOME)}"
        ) from error


def write_certificate(identity: Identity, home: Path) -> Path:
    """Writes the certificate beside the key, for the TLS library. Returns the file's path. Raises IdentityError."""
    path = home / CERTIFICATE_FILE
    try:
        if not path.exists() or path.read_bytes() != identity.certificate():
            path.unlink(missing_ok=True)
            _write_new(path, identity.certificate(), sync=False)  # a damaged one is made again
    except OSError as error:
        raise IdentityError(
            f"Cannot write {path}: {causes.explained(error, _ANOTHER_HOME, forbidden=_ANOTHER_HOME)}"
        ) from error
    return path


def verify(peer_id: PeerId, signature: bytes, data: bytes) -> bool:
    """Whether the peer signed exactly these bytes."""
    if _is_anybodys(peer_id):
        return False
    try:
        Ed25519PublicKey.from_public_bytes(peer_id).verify(signature, data)
    except (InvalidSignature, ValueError):
        return False
    return True


def key_of_certificate(der: bytes) -> PeerId:
    """The peer id in a TLS certificate. Raises MalformedMessage for any other kind of certificate."""
    before = _CERTIFICATE + _TO_BE_SIGNED
    at, after = len(before), len(before) + KEY_BYTES
    known = before + der[at:after] + _SIGNATURE
    if der.startswith(known) and len(der) == len(known) + SIGNATURE_BYTES:
        return _of_one_peer(der[at:after])
    from cryptography import x509

    try:
        key = x509.load_der_x509_certificate(der).public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise MalformedMessage("the peer's certificate cannot be read") from error
    return _of_one_peer(key.public_bytes_raw() if isinstance(key, Ed25519PublicKey) else b"")


def _of_one_peer(key: bytes) -> PeerId:
    if len(key) != KEY_BYTES or _is_anybodys(key):
        raise MalformedMessage("the peer's certificate is not on an Ed25519 key")
    return PeerId(key)


def _is_anybodys(key: bytes) -> bool:
    """Whether the key has small order, whatever the sign of its point."""
    return len(key) == 32 and key[:31] + bytes([key[31] & 0x7F]) in _SMALL_ORDER


def _pem(label: str, der: bytes) -> bytes:
    """Text encoding of DER (RFC 7468)."""
    text = base64.b64encode(der).decode()
    lines = (text[at : at + 64] for at in range(0, len(text), 64))
    return "\n".join((f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", "")).encode()


def _write_new(path: Path, content: bytes, *, sync: bool = True) -> None:
    """Creates the file whole or not at all; if another process was first, its file stays."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            if sync:
                os.fsync(file.fileno())
        try:
            os.link(temporary, path)
        except FileExistsError:
            return
    finally:
        temporary.unlink(missing_ok=True)
