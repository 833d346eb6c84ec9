"""Codes with which browsers log in, and the sessions that they get for them. No IO; the time comes in."""

import hmac
import secrets
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

CODE_S = 60.0
"""How long a code lets somebody in."""
MAX_CODES = 16
MAX_SESSIONS = 64
"""How many browsers can be logged in; the one not seen for longest makes room."""
IDLE_S = 12 * 3600.0
"""After this time without a request a session ends."""


@dataclass
class Session:
    """One browser that has logged in. `form` is in every form of its pages."""

    token: str
    form: str
    seen: float


class Sessions:
    """The codes and the sessions of one peer."""

    def __init__(self) -> None:
        self._codes: OrderedDict[str, float] = OrderedDict()
        """When each was made, the oldest first."""
        self._sessions: list[Session] = []
        """Those seen least recently first."""

    def __iter__(self) -> Iterator[Session]:
        return iter(list(self._sessions))

    def new_code(self, now: float) -> str:
        """Makes a code, which lets one browser in, once, within CODE_S."""
        code = secrets.token_urlsafe(24)
        self._codes[code] = now
        while len(self._codes) > MAX_CODES:
            self._codes.popitem(last=False)
        return code

    def begin(self, code: str, now: float) -> Session | None:
        """Begins a session for a code, which is used up; None if it is none, or too old."""
        found = next((known for known in self._codes if same(known, code)), None)
        if found is None or now - self._codes.pop(found) > CODE_S:
            return None
        session = Session(secrets.token_urlsafe(32), secrets.token_urlsafe(32), now)
        self._sessions = [*self._sessions[1 - MAX_SESSIONS :], session]
        return session

    def find(self, token: str, now: float) -> Session | None:
        """The session with this token, which has now been seen; None if there is none."""
        self._sessions = [one for one in self._sessions if now - one.seen <= IDLE_S]
        found = next((one for one in self._sessions if same(one.token, token)), None)
        if found is not None:
            found.seen = now
            self._sessions.sort(key=lambda one: one.seen)
        return found

    def end(self, session: Session) -> None:
        self._sessions = [one for one in self._sessions if one is not session]

    def end_all(self) -> None:
        """Ends all sessions, and makes all codes worthless."""
        self._sessions.clear()
        self._codes.clear()


def same(secret: str, given: str) -> bool:
    """Whether what was given is the secret; takes as long if it is not."""
    return hmac.compare_digest(secret.encode(), given.encode(errors="replace"))
