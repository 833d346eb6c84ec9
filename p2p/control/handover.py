"""While one peer of a home stops, or another one starts there, whoever wants to use one tries again for a while."""

from p2p.errors import ShoalError

TIMEOUT_S = 60.0
"""How long it may take: a peer saves what it has when it stops."""
POLL_S = 0.05


class Handover:
    """One wait for a peer of a home. It does no IO: times come in as arguments, in seconds."""

    def __init__(self, now: float) -> None:
        self._until = now + TIMEOUT_S

    def wait_s(self, error: ShoalError, now: float) -> float:
        """How long to wait before trying again, after this error. Raises it if that has lasted too long."""
        if now > self._until:
            raise error
        return POLL_S
