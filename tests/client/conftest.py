"""Every test of the Python client may have a world of peers, and must leave nothing behind."""

from tests.support.leaks import clean as clean
from tests.support.world import world as world
