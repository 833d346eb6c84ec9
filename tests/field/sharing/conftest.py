"""Every case gets a world of peers, and must leave nothing behind."""

from tests.support.compiled import compiled as compiled
from tests.support.leaks import clean as clean
from tests.support.world import world as world
