"""`shoal run --local` runs a job in this process, on local files, without a peer, volunteers or a sandbox."""

import json
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import UNSET

from p2p import causes
from p2p.commandline.terminal import note
from p2p.compute import bundles, requirements
from p2p.compute.answers import JobAnswer
from p2p.compute.owner import saved_files
from p2p.compute.spec import JobSpec
from p2p.core.compute.partitions import SEEDED_CORES, asked_bytes, chosen_bytes, chosen_count
from p2p.core.compute.report import Report
from p2p.core.compute.skipped import SkippedRecords, Skips, UnitPlace
from p2p.errors import ConfigError, JobError, StorageError
from p2p.jobs import local
from p2p.jobs.codec import Unreadable
from p2p.jobs.faults import JobFault, PlanMismatch
from p2p.jobs.planning import Settings
from p2p.paths import exists

REDUCE_PARTITIONS = 8


def run(path: Path, inputs: list[str], spec: JobSpec, out: Path | None) -> JobAnswer:
    """Runs the job to its end, and returns the answer for `shoal run`. Raises ConfigError, JobError, StorageError."""
    paths = [Path(text) for text in inputs]
    for text, one in zip(inputs, paths, strict=True):
        if not exists(one):
            raise ConfigError(f"{text} does not exist; --local reads files on this machine, not links.")
    if out is not None:
        out = out.absolute()
        saved_files.check_out(out)
    made: dict[int, list[Path]] = {}

    def save(action: int, partition: int, body: bytes) -> None:
        if out is None:
            raise ConfigError("The job saves files: give a folder for them with --out DIR.")
        target = out / saved_files.name_of(action) / saved_files.part_of(partition)
        made.setdefault(action, []).append(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(body)

    skipped = SkippedRecords(spec.max_skipped)

    def skips(unit: tuple[int, int, int], count: int, reports: Sequence[dict[str, Any]]) -> None:
        skipped.set(UnitPlace(*unit), Skips(count, msgspec.convert(reports, tuple[Report, ...])))
        if skipped.is_exceeded:
            raise JobError(skipped.excess())

    # The API is this process's own copy; the job's files are imported from memory, as in a guest.
    files, title = bundles.collect(path, tuple(map(Path, spec.along)), note), bundles.title_of(path)
    if bundles.MODULE in files:
        raise ConfigError(f"--local is for jobs in Python; {path.name} runs without Shoal in any WASI runtime.")
    if spec.requirements is not None:
        files = _with_packages(files, Path(spec.requirements))
    note("--local: the job's code runs in this process and can do whatever you can do")
    seed = secrets.randbelow(2**32) if spec.seed is UNSET else spec.seed
    if spec.seed is UNSET:
        same = f"--seed {seed} --partitions {spec.partitions}" if spec.partitions else f"--seed {seed}"
        note(f"seed {seed}: `{same}` draws the same random numbers again, here and at volunteers")
    try:
        size = sum(local.size_of(one) for one in paths)
        answer = local.run(
            bundles.titled(files, title),
            paths,
            spec.args,
            save=save,
            entry=title,
            settings=Settings(spec.partitions or chosen_count(SEEDED_CORES), REDUCE_PARTITIONS),
            partition_bytes=asked_bytes(size, spec.partitions) if spec.partitions else chosen_bytes(size, SEEDED_CORES),
            seed=seed,
            is_drawn=spec.seed is UNSET,
            note=note,
            skips=skips,
        )
        written = _in_place(made)
        made.clear()
    except JobFault as fault:
        raise JobError(msgspec.convert(fault.report(), Report).told(*fault.unit)) from fault
    except (PlanMismatch, Unreadable) as error:
        raise JobError(str(error)) from error
    except MemoryError as error:
        raise JobError("The job needs more memory than this machine has free.") from error
    except OSError as error:
        where = "" if error.filename is None else f" {error.filename}"
        raise StorageError(f"Cannot read or write a file of the job{where}: {causes.explained(error)}") from error
    finally:
        for of_action in made.values():
            shutil.rmtree(of_action[0].parent, ignore_errors=True)  # the job failed, and part of a result is of no use
    value = json.loads(answer.json)
    return JobAnswer(
        "local",
        "done",
        value,
        paths=tuple(written) or UNSET,
        skipped=skipped.total or UNSET,
        first_skipped=tuple(skipped.first()) or UNSET,
    )


def _with_packages(files: dict[str, bytes], listed: Path) -> dict[str, bytes]:
    """Adds the packages that the user's requirements name, for the Python that runs this. Raises ConfigError."""
    wanted = requirements.read(listed)
    with tempfile.TemporaryDirectory(prefix="shoal-") as folder:
        packages, version = Path(folder, "packages"), f"{sys.version_info.major}.{sys.version_info.minor}"
        command = requirements.command(wanted, version, packages)
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        return bundles.with_wheels(files, requirements.downloaded(packages, done.returncode, done.stderr))


def _in_place(made: dict[int, list[Path]]) -> list[str]:
    """The paths of the saved files. If only one action saved, its files move up a folder. Raises OSError."""
    if len(made) != 1:
        return [str(path) for paths in made.values() for path in paths]
    (paths,) = made.values()
    moved = [path.rename(path.parents[1] / path.name) for path in paths]
    paths[0].parent.rmdir()
    return list(map(str, moved))
