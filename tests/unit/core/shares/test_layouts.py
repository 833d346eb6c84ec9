"""Decoded manifests: found while they are used, kept for a while after that, and bounded in memory together."""

import gc

from p2p.core.shares.layout import Layout
from p2p.core.shares.layouts import Layouts, weight
from p2p.core.shares.manifest import ManifestRoot
from tests.support.manifests import layout_of

EACH = weight(layout_of([5]).manifest.root)


def layouts(*names: int) -> list[Layout]:
    """Layouts of different shares that weigh the same."""
    return [layout_of([5 + name]) for name in names]


def test_one_is_kept_and_there_is_only_one() -> None:
    kept = Layouts()
    one, again = layout_of([5]), layout_of([5])
    assert kept.get(one.manifest.share_id) is None
    assert kept.keep(one) is one
    assert kept.keep(again) is one
    del again
    assert kept.get(one.manifest.share_id) is one


def test_those_that_nobody_uses_go_first_the_oldest_before_others() -> None:
    kept = Layouts(2 * EACH)
    used, *idle = layouts(0, 1, 2)
    ids = [one.manifest.share_id for one in (used, *idle)]
    for one in (used, *idle):
        kept.keep(one)
    del one
    idle.clear()
    gc.collect()
    assert kept.lacking(EACH) == 0
    assert kept.get(ids[0]) is used
    assert kept.get(ids[1]) is None
    assert kept.lacking(2 * EACH) == EACH  # the one that is used stays
    assert kept.get(ids[0]) is used


def test_memory_is_back_when_the_last_user_is_gone() -> None:
    kept = Layouts(EACH)
    one, other = layouts(0, 1)
    kept.keep(one)
    kept.keep(other)
    assert kept.lacking(0) == EACH
    del one, other
    gc.collect()
    assert kept.lacking(0) == 0


def test_the_weight_follows_from_the_root() -> None:
    root = ManifestRoot(1, "share", False, 100_000, 1, 10**9, 100_000, 8_000_000, b"")
    assert 14_000_000 < weight(root) < 15_000_000
