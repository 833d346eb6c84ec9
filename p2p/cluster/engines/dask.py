"""Dask: a scheduler at the head, a worker in each member. Whoever connects shows the cluster's certificate.

Names are not checked by Dask's TLS, so one certificate is that of all: who has its key is in the cluster.
"""

import datetime
from collections.abc import Mapping

from p2p.cluster.engines.engine import KEYS, At, Port, Program, address

_PORT, _DASHBOARD = 8786, 8787
_CERTIFICATE, _KEY = "cert.pem", "key.pem"
_TLS = tuple(
    word for option, file in (("ca-file", _CERTIFICATE), ("cert", _CERTIFICATE), ("key", _KEY))
    for word in (f"--tls-{option}", f"{KEYS}/{file}")
)  # fmt: skip
_VARIABLES = {"OMP_NUM_THREADS": "1", "DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "true"}
_INSIDE = {
    **_VARIABLES,
    "DASK_SCHEDULER_ADDRESS": f"tls://{address(0)}:{_PORT}",
    "DASK_DISTRIBUTED__COMM__TLS__CA_FILE": f"{KEYS}/{_CERTIFICATE}",
    "DASK_DISTRIBUTED__COMM__TLS__CLIENT__CERT": f"{KEYS}/{_CERTIFICATE}",
    "DASK_DISTRIBUTED__COMM__TLS__CLIENT__KEY": f"{KEYS}/{_KEY}",
}
_SPARE = 0.9
"""How much of a member's memory its worker takes for itself: the rest is for the programs beside it."""


class Dask:
    """See above."""

    name = "dask"
    package = "distributed"
    requirement = "dask[complete]"
    ports = (Port("scheduler", _PORT, "tls", "raw"), Port("dashboard", _DASHBOARD, "http", "web"))

    inside = _INSIDE

    def keys(self) -> Mapping[str, bytes]:
        return certificate()

    def head(self, at: At) -> tuple[Program, ...]:
        argv = (f"{at.bin}/dask", "scheduler", "--host", at.address, "--port", str(_PORT))
        dashboard = ("--dashboard-address", f"{at.address}:{_DASHBOARD}")
        return (Program("scheduler", (*argv, *dashboard, *_TLS), "Scheduler at:", _VARIABLES),)

    def worker(self, at: At) -> tuple[Program, ...]:
        argv = (f"{at.bin}/dask", "worker", f"tls://{address(0)}:{_PORT}", "--host", at.address, "--no-dashboard")
        size = ("--nthreads", str(at.room.cores), "--memory-limit", str(int(at.room.memory * _SPARE)))
        rest = ("--name", at.label, "--local-directory", "/home/me", "--no-nanny")
        return (Program("worker", (*argv, *size, *rest, *_TLS), "Registered to:", _VARIABLES),)


def certificate() -> Mapping[str, bytes]:
    """A fresh key, and its certificate, which is its own authority; both as PEM."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a cluster of Shoal")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))  # clocks of members may be slow
        .not_valid_after(now + datetime.timedelta(days=365))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)
    return {_CERTIFICATE: made.public_bytes(pem), _KEY: secret}
