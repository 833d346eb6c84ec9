"""A guest as a real process on pipes, and a whole job run over frames as an owner does it."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from p2p.compute.bundles import whole
from p2p.jobs.bootstrap import BOOTSTRAP
from p2p.jobs.cutting import Piece, at_lines, by_file, by_size, driven, share_of
from p2p.jobs.frames import pack, receive
from p2p.jobs.unpacking import HEAD_BYTES, form_of

PYTHON = (sys.executable, "-S", "-c", BOOTSTRAP)
Files = Mapping[str, bytes]
Reply = tuple[dict[str, Any], list[bytes]]


class Guest:
    """A guest process: one request, one reply."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process
        self.known = 0
        """The number of results of actions that the guest has."""

    def ask(self, header: dict[str, Any], blobs: Sequence[bytes] = ()) -> Reply:
        """Sends a request and reads its reply."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(pack(header, blobs))
        self._process.stdin.flush()
        reply = receive(self._process.stdout)  # type: ignore[arg-type]
        assert reply is not None, "the guest has ended"
        return reply

    def load(
        self,
        files: Mapping[str, bytes | str],
        *,
        inputs: Files | None = None,
        arguments: Mapping[str, Any] | None = None,
        partitions: int = 4,
        reduce_partitions: int = 3,
        job: str = "ab" * 32,
        seed: int | None = None,
    ) -> Reply:
        """Loads a job whose entry is the first of its files."""
        own = {name: data.encode() if isinstance(data, str) else data for name, data in files.items()}
        every = whole(own)
        header = {
            "do": "load",
            "files": list(every),
            "entry": next(iter(files)),
            "args": dict(arguments or {}),
            "settings": {"partitions": partitions, "reduce_partitions": reduce_partitions},
            "inputs": [{"name": name, "size": len(data), "files": 1} for name, data in (inputs or {}).items()],
            "job": job,
        } | ({} if seed is None else {"seed": seed})
        return self.ask(header, list(every.values()))

    def end(self) -> str:
        """Closes the guest's pipe and waits for its end. Returns what it printed."""
        _, log = self._process.communicate()
        assert self._process.returncode == 0, log.decode()
        return log.decode()


@contextmanager
def guest(command: Sequence[str] = PYTHON, **environment: str) -> Iterator[Guest]:
    """A guest while the body runs."""
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env=os.environ | environment) as process:
        try:
            yield Guest(process)
        finally:
            process.kill()


class Run:
    """A job run over frames: what it returned, the files it saved, and every blob that units made, in order."""

    def __init__(self, one: Guest, inputs: Files, *, partitions: int, partition_bytes: int) -> None:
        self._guest, self._partitions, self._partition_bytes = one, partitions, partition_bytes
        self._names, self._data = list(inputs), list(inputs.values())
        self._results: list[bytes] = []
        self.saved: list[bytes] = []
        self.blobs: list[bytes] = []
        self.plans: list[dict[str, Any]] = []

    def to_the_end(self) -> dict[str, Any]:
        """Runs the job; returns the reply to the last plan, or the first error."""
        while True:
            answer, _ = self._ask({"do": "plan"})
            if answer.get("ok") != "plan":
                return answer
            plan = answer["plan"]
            self.plans.append(plan)
            confirmed, _ = self._ask({"do": "confirm", "action": plan["action"], "digest": plan["digest"]})
            error = confirmed if confirmed.get("ok") != "confirmed" else self._carry_out(plan)
            if error:
                return error

    def _ask(self, header: dict[str, Any], blobs: Sequence[bytes] = ()) -> Reply:
        new = range(self._guest.known, len(self._results))
        self._guest.known = len(self._results)
        return self._guest.ask(header | {"results": list(new)}, [*(self._results[i] for i in new), *blobs])

    def _carry_out(self, plan: dict[str, Any]) -> dict[str, Any] | None:
        made: list[list[bytes]] = []
        units: list[tuple[Sequence[Any], list[bytes]]]
        for stage in plan["stages"]:
            if stage["source"]:
                units = list(self._units(stage["source"]))
            else:
                units = [((), [blobs[part] for blobs in made]) for part in range(stage["partitions"])]
            made = []
            for partition, (source, blobs) in enumerate(units):
                place = [plan["action"], stage["index"], partition, plan["digest"]]
                answer, output = self._ask({"unit": [*place, source]}, blobs)
                if answer.get("ok") != "unit":
                    return answer
                assert len(output) == (stage["outputs"] or 1)
                made.append(output)
                self.blobs += output
        if plan["kind"] == "save":
            self.saved += [output[0] for output in made]
            made = []
        header = {"do": "finish", "action": plan["action"], "digest": plan["digest"]}
        answer, result = self._ask(header, [output[0] for output in made])
        if answer.get("ok") != "finished":
            return answer
        self._results += result
        return None

    def _units(self, source: dict[str, Any]) -> Iterator[tuple[Sequence[Any], list[bytes]]]:
        kind = source["kind"]
        if kind in ("range", "params"):
            parts = min(self._partitions, source["count"])
            for part in range(parts):
                yield share_of(part, parts, source["count"]), []
            return
        numbers = range(len(self._data)) if source["input"] is None else [source["input"]]
        sizes = [len(data) if number in numbers else 0 for number, data in enumerate(self._data)]
        packed = {number for number, data in enumerate(self._data) if form_of(data[:HEAD_BYTES])}
        each = self._partition_bytes
        pieces = by_file(sizes, each) if kind == "files" else by_size(sizes, each, packed)
        for part_of in pieces:
            whole = [self._whole(piece) if kind != "files" else piece for piece in part_of if piece.file in numbers]
            told = [(self._names[f], at, size, size == len(self._data[f])) for f, at, size in whole]
            yield told, [self._data[f][at : at + size] for f, at, size in whole]

    def _whole(self, piece: Piece) -> Piece:
        data = self._data[piece.file]
        return driven(at_lines(piece, len(data)), lambda offset, size: data[offset : offset + size])


def carry_out(
    files: Mapping[str, bytes | str],
    inputs: Files | None = None,
    *,
    arguments: Mapping[str, Any] | None = None,
    partitions: int = 4,
    reduce_partitions: int = 3,
    partition_bytes: int = 1000,
    command: Sequence[str] = PYTHON,
    seed: int | None = None,
    **environment: str,
) -> tuple[dict[str, Any], Run]:
    """Runs a job in one guest process; returns its last reply, and what the job made."""
    with guest(command, **environment) as one:
        loaded, _ = one.load(
            files,
            inputs=inputs,
            arguments=arguments,
            partitions=partitions,
            reduce_partitions=reduce_partitions,
            seed=seed,
        )
        run = Run(one, inputs or {}, partitions=partitions, partition_bytes=partition_bytes)
        if loaded.get("ok") != "loaded":
            return loaded, run
        answer = run.to_the_end()
        one.end()
    return answer, run
