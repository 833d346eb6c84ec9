"""All expected errors, as one small tree of classes.

The message of an error is the text that a person sees: what happened, then what to do. An error has its own class only
where some caller treats it differently. A `PeerError` is a peer's fault: it ends one conversation, never the process.
Any other exception is a bug in Shoal itself: `concurrency.walls` logs and counts it, and raises `InternalError` in its
place.
"""


class ShoalError(Exception):
    """Anything that Shoal can explain to its user."""


class InternalError(ShoalError):
    """Shoal itself failed: a bug, which is in the log."""

    def __init__(self, text: str = "") -> None:
        super().__init__(
            text
            or "An error of Shoal's own: see the log, which is the stderr of the peer. It ended this and nothing else. "
            "Please report it."
        )


class ConfigError(ShoalError):
    """A setting, flag or argument is wrong."""


class IdentityError(ShoalError):
    """The peer's key cannot be read or used."""


class NotFound(ShoalError):
    """Nobody has what was asked for, or nobody answered in time."""


class StorageError(ShoalError):
    """A disk, file or database failed."""


class HomeInUse(StorageError):
    """Another peer runs in this home, or is about to."""


class TargetExists(StorageError):
    """A file that Shoal did not create is already where a fetched file should go."""


class SandboxFailed(ShoalError):
    """The sandbox cannot be set up on this machine, whatever the job."""


class PeerError(ShoalError):
    """A peer's fault or absence, which ends one conversation."""


class PeerGone(PeerError):
    """The connection failed, closed, or fell silent."""


class OwnAddress(PeerError):
    """The address dialled is this peer's own."""


class MalformedMessage(PeerError):
    """Bytes came that are not a message of the protocol."""


class ProtocolViolation(PeerError):
    """A well-formed message came in the wrong place, or with values out of bounds."""


class Refused(PeerError):
    """The peer refused a request, with a reason."""


class NotAllowed(PeerError):
    """A stranger told this peer to contact a host that only this peer's user may name."""


class BadData(PeerError):
    """Bytes came that do not match their hash."""


class Unacceptable(BadData):
    """The share itself is broken, or larger than this peer accepts: nobody has a better copy."""


class JobError(ShoalError):
    """A job cannot continue: it is itself at fault, or there is nothing left to try."""
