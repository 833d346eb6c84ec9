"""Tests of jobs find their runtime compiled."""

import pytest

from tests.support.compiled import compiled as compiled


@pytest.fixture(scope="module", autouse=True)
def _compiled(compiled: None) -> None:
    """Asks for it on behalf of every module."""
