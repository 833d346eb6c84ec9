"""Tests of the IO layer must leave nothing behind."""

from collections.abc import Iterator

import pytest

from tests.leaks import none_left


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    with none_left():
        yield
