"""Who may ask what over TCP, as a table."""

import pytest

from p2p.net.http_server.foreign import Asked, host_of, port_of
from p2p.web.permission import Secret, refusal

HOST = "127.0.0.1:7475"
OWN = f"http://{HOST}"
NONE, WRONG, TOKEN, SESSION, FORM = Secret
GATE = frozenset({"shoal.example"})


@pytest.mark.parametrize(
    ("asked", "secret", "status"),
    [
        # 1. Names.
        (Asked("GET", "/s/x/", HOST), NONE, None),
        (Asked("GET", "/s/x/", "LOCALHOST"), NONE, None),
        (Asked("GET", "/s/x/", "[::1]:9"), NONE, None),
        (Asked("GET", "/s/x/", None), TOKEN, 421),
        (Asked("GET", "/s/x/", ""), TOKEN, 421),
        (Asked("GET", "/", "rebound.example:7475"), FORM, 421),
        (Asked("GET", "/", "127.0.0.1.evil.example"), FORM, 421),
        (Asked("GET", "/", "127.0.0.1:7475, evil.example"), FORM, 421),
        (Asked("GET", "/", "evil.example@127.0.0.1"), FORM, 421),
        (Asked("GET", "/", "localhost."), FORM, 421),
        (Asked("GET", "/", "127.0.0.2"), FORM, 421),
        (Asked("GET", "/", "shoal.example"), FORM, 421),
        # 2. Other sites.
        *(
            (Asked("GET", path, HOST, None, site), secret, 403)
            for path in ("/s/x/", "/n/x/y/", "/", "/login")
            for site in ("cross-site", "same-site", "", "NONE")
            for secret in (NONE, TOKEN, FORM)
        ),
        (Asked("GET", "/s/x/", HOST, None, "same-origin"), NONE, None),
        (Asked("GET", "/s/x/", HOST, None, "none"), NONE, None),
        (Asked("GET", "/", HOST, None, "none"), SESSION, None),
        *(
            (Asked("GET", "/s/x/", HOST, origin), TOKEN, 403)
            for origin in ("http://evil.example", "null", "", "http://127.0.0.1:80", "http://localhost:7475")
        ),
        (Asked("GET", "/s/x/", HOST, OWN), NONE, None),
        (Asked("OPTIONS", "/s/x/", HOST, "http://evil.example"), NONE, 403),
        # 3. and 4. What needs a secret.
        (Asked("HEAD", "/n/x/y/", HOST), NONE, None),
        (Asked("GET", "/s/x/", HOST), WRONG, None),
        (Asked("GET", "/login", HOST), NONE, None),
        *(
            (Asked("GET", path, HOST), secret, 401)
            for path in ("/", "/s", "/S/x", "/metrics", "/static/style.css", "/api/v1/status", "/login/", "/nothing")
            for secret in (NONE, WRONG)
        ),
        *((Asked("GET", "/api/v1/status", HOST), secret, None) for secret in (TOKEN, SESSION, FORM)),
        # 5. Changes.
        *((Asked("POST", path, HOST, OWN), NONE, 401) for path in ("/s/x/", "/login", "/logout", "/api/v1/share")),
        (Asked("POST", "/api/v1/share", HOST), TOKEN, None),
        (Asked("POST", "/api/v1/share", HOST, "http://evil.example"), TOKEN, 403),
        (Asked("POST", "/api/v1/share", HOST, OWN), SESSION, 403),
        (Asked("POST", "/api/v1/share", HOST), FORM, 403),
        (Asked("POST", "/api/v1/share", HOST, "null"), FORM, 403),
        (Asked("POST", "/api/v1/share", HOST, f"https://{HOST}"), FORM, None),
        (Asked("POST", "/api/v1/share", HOST, OWN), FORM, None),
        (Asked("POST", "/api/v1/share", HOST, OWN, "same-origin"), FORM, None),
        (Asked("POST", "/api/v1/share", HOST, OWN, "cross-site"), FORM, 403),
        (Asked("DELETE", "/s/x/", HOST, OWN), SESSION, 403),
    ],
)
def test_a_peer_of_its_own_machine(asked: Asked, secret: Secret, status: int | None) -> None:
    refused = refusal(asked, secret, frozenset())
    assert (refused and refused.status) == status


@pytest.mark.parametrize(
    ("asked", "secret", "status"),
    [
        (Asked("GET", "/s/x/", "shoal.example"), NONE, 401),
        (Asked("GET", "/n/x/y/", "Shoal.Example:443"), WRONG, 401),
        (Asked("GET", "/s/x/", HOST), NONE, 401),
        (Asked("GET", "/s/x/", "shoal.example"), SESSION, None),
        (Asked("GET", "/s/x/", "shoal.example"), TOKEN, None),
        (Asked("GET", "/login", "shoal.example"), NONE, None),
        (Asked("GET", "/s/x/", "other.example"), TOKEN, 421),
        (Asked("POST", "/logout", "shoal.example", "https://shoal.example"), FORM, None),
        (Asked("POST", "/logout", "shoal.example", "https://other.example"), FORM, 403),
    ],
)
def test_a_peer_with_a_name(asked: Asked, secret: Secret, status: int | None) -> None:
    refused = refusal(asked, secret, GATE)
    assert (refused and refused.status) == status


@pytest.mark.parametrize(
    ("header", "host", "port"),
    [
        ("127.0.0.1:7475", "127.0.0.1", 7475),
        ("[::1]:8", "[::1]", 8),
        ("localhost", "localhost", 80),
        ("a:b", "", 80),
        ("a:123456", "", 80),
        ("[x]", "", 80),
        ("a b", "", 80),
        ("a\n", "", 80),
    ],
)
def test_names_and_ports(header: str, host: str, port: int) -> None:
    assert (host_of(header), port_of(header)) == (host, port)
