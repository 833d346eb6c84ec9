"""Tests of the IO layer must leave nothing behind."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import trio

from tests.support.leaks import none_left
from tests.support.world import World


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    with none_left():
        yield


@pytest.fixture
async def world(tmp_path: Path, nursery: trio.Nursery) -> AsyncIterator[World]:
    made = World(tmp_path, nursery)
    yield made
    await made.close()
