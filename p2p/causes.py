"""What to do about an error of the operating system: advice that fits its cause, wherever it came up.

A full disk or too few descriptors have nothing to do with the file at which they are noticed. Who reports an error
gives the advice for any other cause. All texts of such errors for users are made here.
"""

import errno

FULL = "The disk is full: make some room on it."
LIMITED = "Too many files are open: raise the limit (`ulimit -n`), or try again when this machine does less."
OUT_OF_MEMORY = "This machine is out of memory: try again when it does less."
_ADVICE = {
    errno.ENOSPC: FULL,
    errno.EDQUOT: "Your quota on this disk is used up: make some room on it.",
    errno.EMFILE: LIMITED,
    errno.ENFILE: LIMITED,
    errno.ENOMEM: OUT_OF_MEMORY,
    errno.EAGAIN: "This machine is at a limit: try again when it does less.",
    errno.EROFS: "The disk is mounted read-only: mount it for writing, or choose another place.",
    errno.EIO: "The disk has failed: check it.",
    errno.ESTALE: "The disk is on another machine, and is not the same as before: mount it again.",
}
_FORBIDDEN = frozenset((errno.EACCES, errno.EPERM))
MAY_READ = "You need the right to read it."
MAY_USE = "This user must be able to read and write it, and its folder."


def advice(error: OSError, otherwise: str = "", *, forbidden: str = MAY_USE) -> str:
    """What to do: about the cause if it has nothing to do with the place; about missing rights; `otherwise`."""
    number = error.errno or 0
    return _ADVICE.get(number) or (forbidden if number in _FORBIDDEN else otherwise)


def what(error: OSError) -> str:
    """What happened, in the words of the operating system."""
    return error.strerror or str(error) or type(error).__name__


def explained(error: OSError, otherwise: str = "", *, forbidden: str = MAY_USE) -> str:
    """What happened, and what to do, as in `advice`; the end of a text that says what could not be done."""
    return f"{what(error)}. {advice(error, otherwise, forbidden=forbidden)}".rstrip()
