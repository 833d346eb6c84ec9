"""The limit of open descriptors of this process: connections, files and pipes all count."""

import resource

SPARE = 48
"""How many descriptors a peer needs besides connections: its database, sockets, guests, and files that it reads."""


def allow(wanted: int) -> int:
    """Raises the limit to the number wanted, as far as the system allows. Returns the limit that is in force now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return wanted
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return max(soft, most)
