"""What a process that was forked has to drop: it has copies of the connections and pipes of the one that forked it.

The peer at the other end would take such a copy for the whole: it would not notice that the other process ended.
"""

import os
import weakref
from typing import Protocol


class Inherited(Protocol):
    """Something that only the process that made it may use."""

    def forked(self) -> None:
        """Drops it in a process that was forked. No other thread runs there, and a lock may be held for ever."""


inherited: "weakref.WeakSet[Inherited]" = weakref.WeakSet()
"""All of these that are in use."""


def _drop_all() -> None:
    former = list(inherited)
    inherited.clear()
    for one in former:
        one.forked()


os.register_at_fork(after_in_child=_drop_all)
