"""What the tracker's HTTP code shares: errors as `Problem`, and request rates per address."""

import logging
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from p2p.errors import ConfigError, MalformedMessage, NotFound, Refused, ShoalError, StorageError
from p2p.net.http_server.guard import asker
from p2p.net.http_server.refusals import TooLarge, TooMuch, TooSlow, subject
from p2p.net.http_server.turns import Turns
from p2p.wire.tracker import Problem, encode
from tracker.limits import Limits, Rates, TooLong
from tracker.proxies import Proxies

logger = logging.getLogger(__name__)

JSON = "application/json"


def answer(value: Response | bytes, status: int = 200, **headers: str) -> Response:
    """Makes an answer of encoded JSON, which no cache may store."""
    if isinstance(value, Response):
        return value
    return Response(value, status, {"cache-control": "no-store"} | headers, JSON)


def problem(error: ShoalError | str, status: int = 400, sequence: int = 0) -> Response:
    """Makes the answer to a request that cannot be served."""
    headers: dict[str, str] = {}
    match error:
        case TooMuch():
            status = 429
            headers["retry-after"] = str(error.retry_s)
        case TooLong():
            status = 503
        case TooLarge():
            status = 413
        case TooSlow():
            status = 408
        case Refused():
            status = 403
        case NotFound():
            status = 404
        case StorageError():
            # The error's text names paths on this machine, which only its operator may see.
            logger.warning("%s", error)
            error, status = "The tracker cannot use its disk just now. Try again later.", 503
        case MalformedMessage() | ConfigError() | str():
            pass
        case _:
            raise error
    return answer(encode(Problem(str(error)[:1024], sequence)), status, **headers)


class Admission:
    """Decides who may ask: believes proxies about their clients, lets networks take turns, and limits each address."""

    def __init__(self, limits: Limits, clock: Callable[[], float], proxies: Proxies, turns: Turns) -> None:
        self._proxies = proxies
        self._turns = turns
        self._rates = Rates(limits.request_rate, limits.request_burst)
        self._clock = clock

    async def admit(self, scope: Scope) -> None:
        """Waits for the request's turn. Raises TooMuch."""
        connected = scope.get("client")
        self._proxies.believe(scope)
        host = asker(Request(scope))
        if scope.get("client") != connected:  # nobody has waited for this one's turn yet
            await self._turns.wait(host)
        self._rates.take(subject(host), self._clock())
