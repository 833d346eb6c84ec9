"""A native sandbox: runs programs of a trusted peer unmodified, away from this machine's files and network.

    spec        what a sandbox is made of: folders bound read-only, limits, variables
    sandbox     opens one, starts programs in it, and says why it ended
    keeper      the process beside each sandbox: makes it, watches it, ends it, and removes what it leaves
    bubblewrap  the command line of the walls; `seccomp` the system calls behind them
    staging     what a peer that runs as root does first: mounts that vanish with the sandbox, a disk of a fixed size
    groups      limits by the kernel's control groups, where this peer may make some
    watching    limits by looking, where it may not: `processes`, `memory`, `disk`
    bounds      what enforces each limit here, and how far it can be exceeded
    accounts    the unprivileged users that sandboxes of a peer run as that is root itself
    agent       the first process inside: starts programs and reaps them
    readiness   what is missing on this machine, in words

The walls stop accidents, and everyone who has no exploit of the kernel: they are for peers that the user has named.
Nothing inside is believed, the agent included, for its interpreter comes from the peer that the sandbox is for: all
limits are set and watched from outside. Where there are no control groups, they may be exceeded for a moment.

`keeper` and what it imports use the standard library alone, so that the process stays small. Nothing here knows what a
cluster is, or a network: whoever opens a sandbox puts a device into its network before it lets the programs begin.
"""
