"""Entries that stay encoded: they behave as a tuple of entries, and take little more memory than their bytes."""

import pytest

from p2p.core.shares import manifest as manifests
from p2p.core.shares.encoded import Encoded
from p2p.core.shares.manifest import ShareLimits
from tests.support.manifests import file, folder, manifest_of

ENTRIES = [file("a", size=5), file("b", "c", size=600_000), folder("d")]


def test_they_are_a_sequence() -> None:
    found = manifest_of(ENTRIES).entries
    assert isinstance(found, Encoded)
    assert list(found) == ENTRIES
    assert [found[at] for at in (0, 2, 1, 1, -1, -3)] == [ENTRIES[at] for at in (0, 2, 1, 1, 2, 0)]
    assert found[1:] == tuple(ENTRIES[1:])
    assert found == ENTRIES
    assert found == manifest_of(ENTRIES).entries
    assert found != manifest_of(ENTRIES[:2]).entries
    assert found != ENTRIES[:2]
    for beyond in (3, -4):
        with pytest.raises(IndexError):
            found[beyond]


def test_they_take_little_more_memory_than_their_bytes() -> None:
    manifest = manifest_of([file(f"{number:05}", size=5) for number in range(1000)])
    assert isinstance(manifest.entries, Encoded)
    assert manifest.entries.bytes_held <= manifest.root.length + 8 * 1001


def test_others_may_run_while_many_are_decoded() -> None:
    body, parts = manifests.encode("share", [file(f"{number:05}", size=5) for number in range(1000)], single=False)
    share, pauses = manifests.share_id_of(body), []
    root = manifests.decode_root(share, body, ShareLimits())
    manifests.decode(share, root, parts, lambda: pauses.append(1))
    assert len(pauses) == 1000 // manifests.PAUSE_ENTRIES
