"""The stages of one action, some of which read others: which are open, and what has to be made again. Sans-IO.

A stage is readable once all that it reads is complete: then the ids of its units are known, which follow from that. It
is needed unless all that read it are complete. What was lost of a stage is made again only if it is needed.
"""

from collections.abc import Iterable, Mapping, Sequence

from p2p.core.compute.attempts import Known
from p2p.core.compute.plan import Plan, stage_context
from p2p.core.compute.stage import DONE, StageUnits


class Stages:
    """All stages of a plan, with as many units as `counts` says, in its order: readers come after what they read.

    `context` is `plan.job_context`, `sources` has a digest for each stage with a source, `results` those of the actions
    before.
    """

    def __init__(
        self,
        plan: Plan,
        counts: Sequence[int],
        sources: Mapping[int, bytes],
        context: bytes,
        results: Sequence[bytes],
    ) -> None:
        self._plan = plan
        self._sources = sources
        self._context = context
        self._results = tuple(results)
        self.all = [
            StageUnits(
                stage.index,
                counts[stage.index],
                stage.reads,
                tuple(reader.index for reader in plan.stages if stage.index in reader.reads),
            )
            for stage in plan.stages
        ]

    @property
    def complete(self) -> bool:
        """Whether the final stage is, and with it the action."""
        return self.all[-1].complete

    def recall(self, known: Iterable[Known]) -> None:
        """These results are known from before, as far as they are of the same work."""
        by_stage: dict[int, list[Known]] = {}
        for result in known:
            by_stage.setdefault(result.stage, []).append(result)
        for stage in self.all:
            if not self._readable(stage):
                continue
            self._name(stage)
            for result in by_stage.get(stage.index, ()):
                partition = result.partition
                fits = 0 <= partition < stage.count and stage.state(partition) != DONE
                # A plan or an input that has changed since gives other ids: that is other work.
                if fits and result.unit == stage.unit(partition):
                    stage.finish(partition, result.digest, result.holder)

    def revive(self) -> int:
        """What is gone and needed is to run again: how many units that are."""
        # Readers come after what they read, so who needs what is known on the way back.
        return sum(len(stage.revive()) for stage in reversed(self.all) if stage.gone and self._needed(stage))

    def open(self) -> list[StageUnits]:
        """The stages of which units are to run now."""
        readable = [stage for stage in self.all if self._readable(stage)]
        for stage in readable:
            self._name(stage)
        return [stage for stage in readable if not stage.complete and self._needed(stage)]

    def _needed(self, stage: StageUnits) -> bool:
        return stage is self.all[-1] or any(not self.all[reader].complete for reader in stage.readers)

    def _readable(self, stage: StageUnits) -> bool:
        return all(self.all[read].complete for read in stage.reads)

    def _name(self, stage: StageUnits) -> None:
        if stage.is_named:
            return
        read = [self.all[read].all_results() for read in stage.reads] or [self._sources[stage.index]]
        digest = bytes.fromhex(self._plan.digest)
        stage.named(stage_context(self._context, self._plan.action, stage.index, digest, [*self._results, *read]))
