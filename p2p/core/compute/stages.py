"""The stages of one action, some of which read others: which are open, and which units must run again. Sans-IO.

A stage can start only once all stages that it reads are complete, since the ids of its units depend on the results of
those stages. A stage is needed unless all stages that read it are complete. Lost outputs of a stage are
made again only if the stage is needed.
"""

from collections.abc import Iterable, Mapping, Sequence

from p2p.core.compute.known import Known
from p2p.core.compute.plan import Plan, stage_context
from p2p.core.compute.stage import DONE, StageUnits


class Stages:
    """All stages of a plan, each after the stages that it reads. `counts` holds the number of units of each stage.

    `context` is `plan.job_context`; `sources` holds a digest for each stage with a source; `results` holds the digests
    of the results of earlier actions.
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
        """Whether the final stage is complete, and with it the action."""
        return self.all[-1].complete

    def recall(self, known: Iterable[Known]) -> None:
        """Accepts results that are already known, if they are results of the same work."""
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
                # If the plan or an input has changed since, the ids differ: that is other work.
                if fits and result.unit == stage.unit(partition):
                    stage.finish(partition, result.digest, result.holder)

    def revive(self) -> int:
        """Marks the units whose outputs are gone but needed to run again. Returns how many."""
        # A stage comes after those that it reads, so, going backwards, each stage's readers are settled before it.
        return sum(len(stage.revive()) for stage in reversed(self.all) if stage.gone and self._needed(stage))

    def open(self) -> list[StageUnits]:
        """The stages with units to run now."""
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
