"""HTTP for trackers: small requests to servers whose names may come from an untrusted link.

A name is resolved here, its addresses are checked, and the connection goes to a checked address, so it does not help
an attacker if the name resolves to another machine a moment later. Without these checks, the author of a link could
make every peer that opens it talk to things that only that peer can reach: its router, its printer, a service on its
own machine. So a server that is not on the public Internet is asked only if the user has named it. Each redirect is
checked again. Answers are bounded in bytes and time; there is no compression, and there are no cookies or proxies.
"""

import re
import ssl
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec
import trio

from p2p.errors import ConfigError, MalformedMessage, NotAllowed, PeerGone, Refused
from p2p.formats import quoted
from p2p.wire.address import Scope, ip, is_dialable_host, is_host, scope

if TYPE_CHECKING:
    import httpx2

MAX_URL_CHARS = 512
REQUEST_TIMEOUT_S = 20.0
CONNECT_TIMEOUT_S = 5.0
MAX_REDIRECTS = 3
MAX_ADDRESSES = 4
MAX_REQUESTS = 16
_NETLOC = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+)(:[0-9]{1,5})?")
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class Answered(msgspec.Struct, frozen=True):
    """A server's answer to an HTTP request."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def check_url(text: str) -> str:
    """The base URL of a tracker, without a slash at the end. Raises ConfigError."""
    try:
        parts = urlsplit(text.strip())
        port = parts.port
    except ValueError:
        raise ConfigError(f"{quoted(text)} is not a URL.") from None
    if parts.scheme not in {"http", "https"}:
        raise ConfigError(f"{quoted(text)} is not the URL of a tracker: it begins with http:// or https://.")
    if len(text) > MAX_URL_CHARS or not text.isascii() or not text.isprintable():
        raise ConfigError("This URL is too long, or has characters that no URL may have.")
    if parts.username is not None or parts.query or parts.fragment:
        raise ConfigError(f"{quoted(text)} has parts that a tracker's URL does not have.")
    if _NETLOC.fullmatch(parts.netloc) is None or not is_host(parts.hostname or "") or port == 0:
        raise ConfigError(f"{quoted(text)} does not name a valid host.")
    return text.strip().rstrip("/")


def origin(url: str) -> tuple[str, str, int]:
    """The server of a URL: scheme, host and port."""
    parts = urlsplit(url)
    return parts.scheme, (parts.hostname or "").lower(), parts.port or (443 if parts.scheme == "https" else 80)


class Web:
    """Sends HTTP requests. `trusted` are URLs of servers that the user has named: these may be in any network."""

    def __init__(self, trusted: Iterable[str] = ()) -> None:
        self._trusted = {origin(url) for url in trusted}
        self._client: httpx2.AsyncClient | None = None
        self._places = trio.CapacityLimiter(MAX_REQUESTS)
        self._strangers = trio.CapacityLimiter(MAX_REQUESTS)
        """Limits requests to servers that the user has not named: no other request waits while these are silent."""

    async def close(self) -> None:
        """Closes all connections. Idempotent."""
        if self._client is not None:
            client, self._client = self._client, None
            with trio.CancelScope(shield=True, deadline=trio.current_time() + 1):
                await client.aclose()

    async def get(self, url: str, headers: Mapping[str, str] | None = None, *, most_bytes: int) -> Answered:
        """Gets a URL, following redirects. Raises PeerError; NotAllowed for a host that only the user may name."""
        for _ in range(MAX_REDIRECTS + 1):
            answered = await self._ask("GET", url, b"", headers or {}, most_bytes)
            if answered.status not in _REDIRECTS:
                return answered
            url = self._joined(url, answered.headers.get("location", ""))
        raise Refused(f"{_host(url)} redirects too often")

    async def post(self, url: str, body: bytes, headers: Mapping[str, str], *, most_bytes: int) -> Answered:
        """Posts a body. Refuses redirects, since a body is signed for one server only. Raises like `get`."""
        answered = await self._ask("POST", url, body, headers, most_bytes)
        if answered.status in _REDIRECTS:
            raise Refused(f"{_host(url)} redirects announces; use the tracker's own URL")
        return answered

    def _joined(self, url: str, location: str) -> str:
        import httpx2

        try:
            joined = str(httpx2.URL(url).join(location[:MAX_URL_CHARS]))
            scheme, _, _ = origin(joined)
        except (httpx2.InvalidURL, ValueError, TypeError):
            raise MalformedMessage(f"{_host(url)} redirects to something that is no URL") from None
        if scheme not in {"http", "https"}:
            raise MalformedMessage(f"{_host(url)} redirects to something that is not HTTP")
        return joined

    async def _ask(self, method: str, url: str, body: bytes, headers: Mapping[str, str], most_bytes: int) -> Answered:
        async with self._places if origin(url) in self._trusted else self._strangers:
            with trio.move_on_after(REQUEST_TIMEOUT_S):
                return await self._ask_one_of(await self._addresses(url), method, url, body, headers, most_bytes)
        raise PeerGone(f"{_host(url)} did not answer within {REQUEST_TIMEOUT_S:.0f} seconds")

    async def _ask_one_of(
        self, addresses: list[str], method: str, url: str, body: bytes, headers: Mapping[str, str], most_bytes: int
    ) -> Answered:
        import httpx2

        for number, address in enumerate(addresses, 1):
            try:
                return await self._ask_at(address, method, url, body, headers, most_bytes)
            except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
                if number == len(addresses):
                    raise PeerGone(f"{_host(url)} cannot be reached: {_reason(error)}") from error
            except (httpx2.HTTPError, httpx2.InvalidURL, ssl.SSLError, ValueError) as error:
                raise PeerGone(f"{_host(url)} broke off: {_reason(error)}") from error
        raise PeerGone(f"{_host(url)} has no address")

    async def _ask_at(
        self, address: str, method: str, url: str, body: bytes, headers: Mapping[str, str], most_bytes: int
    ) -> Answered:
        import httpx2

        client = self._client = self._client or _new_client()
        asked = httpx2.URL(url)
        own = {"host": asked.netloc.decode("ascii"), "accept-encoding": "identity", "user-agent": "shoal"}
        request = httpx2.Request(
            method,
            asked.copy_with(host=address),
            headers={**headers, **own, **({"content-length": str(len(body))} if body else {})},
            stream=_stream(body),
            extensions={
                "sni_hostname": asked.host,
                "timeout": httpx2.Timeout(REQUEST_TIMEOUT_S, connect=CONNECT_TIMEOUT_S).as_dict(),
            },
        )
        response = await client.send(request, stream=True)
        try:
            received = bytearray()
            with trio.CancelScope() as enough:
                async for piece in response.aiter_raw():
                    received += piece
                    if len(received) > most_bytes:
                        # Cancelling, instead of leaving the block, makes the nested generators end here and not later.
                        enough.cancel()
            if len(received) > most_bytes:
                raise MalformedMessage(f"{_host(url)} answers with more than {most_bytes} bytes")
            return Answered(response.status_code, response.headers, bytes(received))
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + 1):
                await response.aclose()

    async def _addresses(self, url: str) -> list[str]:
        """Resolves the URL's host to addresses, all of which are allowed. Raises NotAllowed, PeerGone."""
        scheme, host, port = origin(url)
        if not is_host(host):
            raise MalformedMessage("a URL without a host")
        try:
            found = await trio.socket.getaddrinfo(host, port, type=trio.socket.SOCK_STREAM)
        except OSError as error:
            raise PeerGone(f"{host} has no address: {error.strerror}") from error
        addresses = list(dict.fromkeys(str(info[4][0]) for info in found))[:MAX_ADDRESSES]
        if (scheme, host, port) not in self._trusted:
            for address in addresses:
                if ip(address) is None or not is_dialable_host(address) or scope(address) != Scope.GLOBAL:
                    raise NotAllowed(f"{host} is not on the open Internet, and this peer is not set to use it")
        return addresses


def _new_client() -> "httpx2.AsyncClient":
    import httpx2

    # httpx2 keeps connections by address, not by name: a reused one might have been proven for another name.
    limits = httpx2.Limits(max_keepalive_connections=0)
    return httpx2.AsyncClient(trust_env=False, follow_redirects=False, limits=limits)


def _stream(body: bytes) -> "httpx2.AsyncByteStream":
    """Gives the body in one piece. httpx2's own generator is left unfinished if a server answers before reading it."""
    import httpx2

    class Stream(httpx2.AsyncByteStream):
        def __init__(self) -> None:
            self._pieces = [body] if body else []

        def __aiter__(self) -> AsyncIterator[bytes]:
            return self

        async def __anext__(self) -> bytes:
            if not self._pieces:
                raise StopAsyncIteration
            return self._pieces.pop()

    return Stream()


def _host(url: str) -> str:
    return urlsplit(url).hostname or "the server"


def _reason(error: Exception) -> str:
    return str(error)[:200] or type(error).__name__
