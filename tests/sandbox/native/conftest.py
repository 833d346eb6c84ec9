"""A sandbox that has begun, and the account it runs as."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from p2p.sandbox.native.accounts import account as own_account
from p2p.sandbox.native.sandbox import NativeSandbox, open_native
from p2p.sandbox.native.spec import Account
from tests.support.clusters.native import UIDS, spec
from tests.support.constants import shorten as shorten


@pytest.fixture
def account() -> Iterator[Account]:
    with own_account(UIDS) as found:
        yield found


@pytest.fixture
async def native(tmp_path: Path, account: Account) -> AsyncIterator[NativeSandbox]:
    async with open_native(spec(), tmp_path, account, idle=False) as sandbox:
        await sandbox.begin()
        yield sandbox
