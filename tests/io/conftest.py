"""Tests of the IO layer get a world of peers where they ask for it, and must leave nothing behind."""

from tests.support.leaks import clean as clean
from tests.support.world import world as world
