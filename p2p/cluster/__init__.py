"""Clusters: engines such as Dask, unmodified, on machines of peers whose users trust each other.

A volunteer lends room to owners that its user has listed (`lists`, `lending`), for an allocation. The owner's side
(`owner/`) asks for it, and makes one cluster of those who grant it. A member (`member`) is a sandbox of
`p2p.sandbox.native` with the owner's environment, whose only network is that of the cluster (`network/`). What runs
there is said by `engines/`, as data.

Nothing here knows of commands or of the control socket. It is loaded when the first cluster is.
"""
