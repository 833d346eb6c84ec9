"""The owner's side of clusters: finds members, starts the engine on them, and keeps what it prints.

`clusters` lists those of this peer's user, `cluster` is one, and `seats` its members: the owner's own, and those at
other peers. It knows the volunteer's side, `lending`, on the wire only.
"""
