"""Everything that can go wrong, as one small tree.

The message of an error is the text that a person sees: what happened, then what to do. A new class exists only where
some caller treats it differently. A `PeerError` is a peer's fault: it ends one conversation, never the process;
anything that is not a ShoalError is our own bug and stops the node loudly.
"""


class ShoalError(Exception):
    """Anything that Shoal can explain to its user."""


class ConfigError(ShoalError):
    """A setting, flag or argument is wrong."""


class IdentityError(ShoalError):
    """The peer's key cannot be read or used."""


class NotFound(ShoalError):
    """Nobody has it, or nobody answered in the time given."""


class StorageError(ShoalError):
    """A disk, file or database said no."""


class TargetExists(StorageError):
    """A file that Shoal did not make stands where the fetched one should go."""


class SandboxFailed(ShoalError):
    """The sandbox cannot be set up on this machine, whatever the job."""


class PeerError(ShoalError):
    """A peer's fault or absence; ends one conversation."""


class PeerGone(PeerError):
    """The connection failed, closed, or fell silent."""


class OwnAddress(PeerError):
    """The address dialled is this peer's own."""


class MalformedMessage(PeerError):
    """Bytes that are no message of the protocol."""


class ProtocolViolation(PeerError):
    """A well-formed message where it must not be, or beyond its bounds."""


class Refused(PeerError):
    """The peer said no, with a reason."""


class NotAllowed(PeerError):
    """A stranger named a host that only the user may send this peer to."""


class BadData(PeerError):
    """Bytes that do not match their hash."""


class Unacceptable(BadData):
    """A share is itself broken, or larger than is accepted here: nobody has a better one."""


class JobError(ShoalError):
    """A job cannot go on, by its own fault or for want of anything left to try."""
