"""Explains to the user why nobody works for a job: what `matching` found lacking, and what volunteers answered."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from p2p.core.compute.matching import Need, VolunteerOffer, suits
from p2p.formats import format_size, quoted
from p2p.ids import PeerId


def why_nothing_runs(
    need: Need,
    offers: Mapping[PeerId, VolunteerOffer],
    refusals: Mapping[PeerId, str],
    left_out: Mapping[PeerId, str],
    unreachable: Collection[PeerId] = (),
    failures: Sequence[str] = (),
    *,
    dialable: bool = True,
) -> str:
    """Explains to the user why none of the volunteers found works for the job; empty if one of them could.

    `refusals` says what volunteers said, and `left_out` why this peer left others out. Those in `unreachable` cannot
    be dialled; they call if the owner is `dialable`. `failures` says why peers that the user has named did not answer.
    """
    if not offers and failures:
        return f"no volunteers found yet: {', '.join(failures[:3])}"
    if not offers:
        return "no volunteers found yet; name one that you know with --peer HOST:PORT"
    found = f"{len(offers)} volunteer{'s' if len(offers) != 1 else ''} found"
    with_runtime = [offer for offer in offers.values() if need.runtime in offer.runtimes]
    if not with_runtime:
        return f"{found}, 0 offer {need.runtime}"
    if not any(offer.memory >= need.memory for offer in with_runtime):
        return f"{found}, 0 of the {len(with_runtime)} with {need.runtime} have {format_size(need.memory)} for a unit"
    fit = {peer for peer, offer in offers.items() if suits(need, offer)}
    if not fit:
        return f"{found}, 0 have a free core"
    silent = fit - refusals.keys() - left_out.keys()
    if not silent <= set(unreachable):
        return ""
    texts = []
    for how, of in (("said", refusals), ("left out by this peer", left_out)):
        reasons = Counter(of[peer] for peer in sorted(fit & of.keys()))
        texts += [f"{count} {how}: {reason}" for reason, count in list(reasons.items())[:3]]
    if silent:
        more = "and may call this peer" if dialable else "and neither can this peer"
        texts.append(f"{len(silent)} cannot be dialled, {more}")
    peers = f"{len(offers)} peer{'s' if len(offers) != 1 else ''} found"  # neighbours may not be volunteers at all
    return f"{peers}, none takes the job: {', '.join(texts)}"


def where_it_waits(lines: Collection[tuple[int, str]]) -> str:
    """Text for the user: how many volunteers a job waits for, its best place (from 1), and that volunteer's reason."""
    place, reason = min(lines)
    where = "1 volunteer" if len(lines) == 1 else f"{len(lines)} volunteers"
    best = " at best" if len(lines) > 1 else ""
    return f"queued at {where}, {_ordinal(place)} in line{best}: {reason}"


def what_is_not_sent(inputs: Sequence[str]) -> str:
    """Text for the user: no peer sends what the units need of these inputs, given by their names."""
    which = quoted(inputs[0]) if len(inputs) == 1 else f"the {len(inputs)} inputs"
    return f"no peer sends what the units need of {which}"


def _ordinal(number: int) -> str:
    ending = "th" if number % 100 in {11, 12, 13} else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"
