"""What to do about an error of the operating system: advice that fits its cause, wherever it came up.

A full disk or too few descriptors have nothing to do with the file at which they are noticed. Who reports an error
gives the advice for any other cause. All texts of such errors for users are made here.
"""

import errno

FULL = "Make room on that disk."
LIMITED = "Raise the limit (`ulimit -n`), or try again when this machine does less."
OUT_OF_MEMORY = "Try again when this machine does less."
_ADVICE = {
    errno.ENOSPC: FULL,
    errno.EDQUOT: FULL,
    errno.EMFILE: LIMITED,
    errno.ENFILE: LIMITED,
    errno.ENOMEM: OUT_OF_MEMORY,
    errno.EAGAIN: OUT_OF_MEMORY,
    errno.EROFS: "Mount that disk for writing, or choose another place.",
    errno.EIO: "That disk may be about to fail: check it.",
    errno.ESTALE: "That disk is on another machine: mount it again.",
}
_FORBIDDEN = frozenset((errno.EACCES, errno.EPERM))
MAY_READ = "You need the right to read it."
MAY_USE = "This user must be able to read and write it, and its folder."


def advice(error: OSError, otherwise: str = "", *, forbidden: str = MAY_USE) -> str:
    """What to do: about the cause if it has nothing to do with the place; about missing rights; `otherwise`."""
    number = error.errno or 0
    return _ADVICE.get(number) or (forbidden if number in _FORBIDDEN else otherwise)


def of_the_machine(error: BaseException) -> str:
    """What happened, and what to do, if it has nothing to do with the place at which it was noticed; else nothing."""
    return explained(error) if isinstance(error, OSError) and error.errno in _ADVICE else ""


def what(error: OSError) -> str:
    """What happened, in the words of the operating system."""
    return error.strerror or str(error) or type(error).__name__


def explained(error: OSError, otherwise: str = "", *, forbidden: str = MAY_USE) -> str:
    """What happened, and what to do, as in `advice`; the end of a text that says what could not be done."""
    return f"{what(error)}. {advice(error, otherwise, forbidden=forbidden)}".rstrip()
