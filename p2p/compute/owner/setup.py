"""Prepares what a job needs before it first runs or resumes: shares of its bundle and inputs, and its runtime.

For as long as the job lasts, its files and its inputs stay as they were when it began.
"""

import math
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import trio
from msgspec import UNSET

from p2p import private
from p2p.compute import arguments, bundles, requirements, runtimes
from p2p.compute.bundles import Description
from p2p.compute.owner import hiring, input_forms
from p2p.compute.owner.deps import Deps
from p2p.compute.owner.dispatch import JobInput, partitioner_of
from p2p.compute.owner.made_shares import MadeShares
from p2p.compute.spec import JobSpec, Resumable
from p2p.config import VolunteerConfig
from p2p.core.compute.partitions import MIN_PARTITION_BYTES, SEEDED_CORES, asked_bytes, chosen_bytes, chosen_count
from p2p.core.compute.plan import MAX_UNITS_PER_STAGE, Source
from p2p.core.shares.manifest import EntryKind
from p2p.errors import ConfigError, JobError
from p2p.formats import format_size
from p2p.ids import ShareId, short, to_text
from p2p.jobs import chance
from p2p.jobs.cutting import DEFAULT_PARTITION_BYTES
from p2p.paths import exists
from p2p.progress import Progress
from p2p.sandbox.limits import MAX_MEMORY_BYTES, MAX_WALL_S, GuestLimits
from p2p.sandbox.runtimes import MODULE, PYTHON, SCIENCE, Runtime
from p2p.wire.link import Link, PeerHint, PointerLink, is_link, parse_any_link, parse_link, parse_peer
from p2p.wire.tracker import Capacity

REDUCE_PARTITIONS = 8
OUT_OF_DATE = "Start the job again, and forget this one with `shoal cancel`."


@dataclass(frozen=True)
class HiringTerms:
    """Which volunteers the user wants: named peers first, at most `most` in all (0: any number).

    The job stops after `wait_s` seconds in which nobody works on it (None: never).
    """

    peers: tuple[PeerHint, ...]
    most: int
    wait_s: float | None


@dataclass(frozen=True)
class Setup:
    """A job that is ready to run. `folder` is the job's own folder, which contains its bundle."""

    id: bytes
    again: bool
    """Whether an earlier process has begun the job."""
    token: bytes
    """What the peers that work for the job show each other: see `work.JobOffer`."""
    folder: Path
    files: dict[str, bytes]
    """The files of the bundle."""
    description: Description
    bundle: ShareId
    inputs: tuple[JobInput, ...]
    partition_bytes: int
    """Roughly how many bytes of inputs a unit reads."""
    runtime: Runtime
    limits: GuestLimits
    hiring: HiringTerms
    max_skipped: int
    """How many records the job's units may skip because of errors."""


async def with_newest(deps: Deps, spec: JobSpec, progress: Progress) -> JobSpec:
    """The spec with links to the newest shares in place of mutable links, so that a resumed job reads the same ones.

    Raises NotFound if nobody knows one for `wait_s` seconds; ConfigError.
    """
    peers, name, inputs = list(map(parse_peer, spec.peers)), progress.name, []
    for text in spec.inputs:
        link = parse_any_link(text) if is_link(text) else None
        if isinstance(link, PointerLink):
            found, hints = await deps.discovery.mutable_links.newest(link, peers, spec.wait_s, progress)
            text = str(msgspec.structs.replace(found, peers=tuple(hints)))
        inputs.append(text)
    progress.name = name
    return msgspec.structs.replace(spec, inputs=tuple(inputs))


async def set_up(deps: Deps, spec: JobSpec, job: bytes, folder: Path, made: MadeShares, progress: Progress) -> Setup:
    """Shares the inputs and the bundle, adds these shares to `made`, and chooses the runtime.

    `folder` is the job's own.
    """
    files = await deps.disk.run(bundles.collect, Path(spec.path), tuple(map(Path, spec.along)), progress.note)
    wanted = None if spec.requirements is None else await deps.disk.run(requirements.read, Path(spec.requirements))
    if said := bundles.told(files):
        progress.note(said)
    _check_bounds(spec)
    arguments.check(spec.args)
    peers = tuple(map(parse_peer, spec.peers))
    is_module = bundles.MODULE in files
    found: list[Capacity] = []
    if not spec.partitions or not (is_module or spec.runtime) or spec.unit_time_s > VolunteerConfig().unit_time_s:
        progress.state = "asking what volunteers offer"
        found = await deps.discovery.volunteers.survey(peers, (PYTHON, SCIENCE))
    runtime = None if is_module else await _choose(deps, spec, files, found, progress)
    if wanted is not None:
        files = await _with_packages(deps, files, wanted, runtime, folder / "packages", progress)
    cores = _cores(found, MODULE if runtime is None else runtime.name, spec.volunteers)
    if spec.seed is not UNSET:
        cores = SEEDED_CORES
        if not spec.partitions and not is_module:
            progress.note(f"--seed: the units are those for {cores} cores, whoever works; --partitions N makes others")
    inputs = [await _input(deps, job, text, spec.wait_s, made, progress) for text in spec.inputs]
    progress.state = "looking at the inputs"
    inputs = [one._replace(forms=await input_forms.forms_of(deps, one)) for one in inputs]
    finer = _finer(spec, found, MODULE if runtime is None else runtime.name, progress)
    each = _asked_bytes(spec, inputs) or max(chosen_bytes(_size(inputs), cores) // finer, MIN_PARTITION_BYTES)
    count = spec.partitions or min(chosen_count(cores) * finer, MAX_UNITS_PER_STAGE)
    description = Description(
        args=spec.args,
        partitions=_units_of_module(inputs, each) if is_module and inputs else count,
        reduce_partitions=REDUCE_PARTITIONS,
        inputs=tuple(
            bundles.InputDescription(one.name, sum(size for _, size in one.files), len(one.files)) for one in inputs
        ),
        title=bundles.ENTRY if is_module else bundles.title_of(Path(spec.path)),
        seed=spec.seed,
    )
    whole = bundles.whole(files)
    await deps.disk.run(bundles.write, folder / "bundle", whole, description)
    if runtime is None:
        progress.state = "compiling the module"
        runtime = await runtimes.runtime_of(folder / "bundle" / bundles.MODULE, progress.note)
    progress.note(f"runtime {runtime.name}; --trust own: every volunteer that takes the job is believed")
    if spec.seed is UNSET and not is_module:
        progress.note(_drawn(chance.drawn(to_text(job)), spec.partitions, max(cores, 1) * finer))
    bundle = await _share_bundle(deps, folder, f"bundle {short(job)}")
    made.add(job, bundle)
    return _setup(spec, job, folder, None, whole, description, bundle, inputs, each, runtime)


async def set_up_again(
    deps: Deps, job: bytes, folder: Path, kept: Resumable, made: MadeShares, progress: Progress
) -> Setup:
    """Sets up a resumed job.

    Raises JobError if something has changed since it began: its results so far would not fit.
    """
    spec = kept.wish
    description, files = await deps.disk.run(bundles.read, folder / "bundle")
    if kept.runtime == MODULE:
        runtime = await runtimes.runtime_of(folder / "bundle" / bundles.MODULE, progress.note)
    else:
        runtime = await runtimes.runtime_for(kept.runtime, progress.note)
    bundle = await _share_bundle(deps, folder, f"bundle {short(job)}")
    if to_text(bundle) != kept.bundle:
        bundle = await _share_bundle(deps, folder, "bundle")  # as it was once called
    inputs = [await _input(deps, job, text, spec.wait_s, made, progress) for text in spec.inputs]
    if bundles.unpacks(files):
        inputs = [one._replace(forms=await input_forms.forms_of(deps, one)) for one in inputs]
    if runtime.digest.hex() != kept.digest:
        raise JobError(f"The runtime {runtime.name} is another than when the job began. {OUT_OF_DATE}")
    if to_text(bundle) != kept.bundle:
        raise JobError(f"The job's files in {folder} have changed. {OUT_OF_DATE}")
    for text, one, before in zip(spec.inputs, inputs, kept.inputs, strict=True):
        if to_text(one.share) != before:
            raise JobError(f"The input {text} has changed since the job began. {OUT_OF_DATE}")
    token = bytes.fromhex(kept.token)
    each = kept.partition_bytes or _asked_bytes(spec, inputs) or DEFAULT_PARTITION_BYTES
    return _setup(spec, job, folder, token, files, description, bundle, inputs, each, runtime)


async def _share_bundle(deps: Deps, folder: Path, name: str) -> ShareId:
    """Shares the bundle in the job's folder. By its name, it is another share than that of an equal job."""
    return (await deps.sharing.share([folder / "bundle"], name, Progress(), unlisted=True, own=True)).share_id


def _setup(
    spec: JobSpec,
    job: bytes,
    folder: Path,
    token: bytes | None,
    files: dict[str, bytes],
    description: Description,
    bundle: ShareId,
    inputs: Sequence[JobInput],
    partition_bytes: int,
    runtime: Runtime,
) -> Setup:
    return Setup(
        id=job,
        again=token is not None,
        token=token or os.urandom(16),
        folder=folder,
        files=files,
        description=description,
        bundle=bundle,
        inputs=tuple(inputs),
        partition_bytes=partition_bytes,
        runtime=runtime,
        limits=GuestLimits(wall_s=spec.unit_time_s, memory_bytes=spec.unit_memory),
        hiring=HiringTerms(tuple(map(parse_peer, spec.peers)), spec.volunteers, spec.wait_s),
        max_skipped=spec.max_skipped,
    )


def _drawn(seed: int, partitions: int, cores: int) -> str:
    """What the user is told of a seed that was drawn."""
    if partitions:
        return f"seed {seed}: `--seed {seed} --partitions {partitions}` draws the same random numbers again"
    if cores == SEEDED_CORES:
        return f"seed {seed}: `--seed {seed}` draws the same random numbers again"
    return (
        f"seed {seed}: `--seed {seed}` draws from this seed again, but other numbers: its units are those for "
        f"{SEEDED_CORES} cores, and this run's are for {cores}"
    )


def _size(inputs: Sequence[JobInput]) -> int:
    return sum(size for one in inputs for _, size in one.files)


def _cores(found: Sequence[Capacity], runtime: str, volunteers: int) -> int:
    """Counts the cores of the volunteers found that have the runtime, of at most `volunteers` of them (0: of all)."""
    cores = sorted((one.cores for one in found if runtime in one.runtimes), reverse=True)
    return sum(cores[: volunteers or None])


def _finer(spec: JobSpec, found: Sequence[Capacity], runtime: str, progress: Progress) -> int:
    """How many times smaller than usual units should be, because volunteers let none run for the whole --unit-time.

    The median of the volunteers found decides, so that no single one does. Tells the user.
    """
    caps = sorted(one.unit_s for one in found if runtime in one.runtimes and one.unit_s)
    cap = caps[len(caps) // 2] if caps else spec.unit_time_s
    if spec.unit_time_s <= cap:
        return 1
    progress.note(hiring.cap_note(cap, spec.unit_time_s))
    if spec.seed is not UNSET:
        return 1  # random numbers depend on how inputs are cut, and must not depend on who is found
    finer = math.ceil(spec.unit_time_s / cap)
    if not spec.partitions:
        progress.note(f"For this reason, units are made {finer:,} times smaller than usual.")
    return finer


def _units_of_module(inputs: Sequence[JobInput], each: int) -> int:
    """How many units a command that reads these inputs has; each unit is told this number."""
    return max(1, len(partitioner_of(inputs, each).pieces(Source("lines"))))


def _asked_bytes(spec: JobSpec, inputs: Sequence[JobInput]) -> int:
    """How many bytes a unit reads at the user's request; 0 if the user did not specify it."""
    return asked_bytes(_size(inputs), spec.partitions) if spec.partitions else 0


async def _choose(
    deps: Deps, spec: JobSpec, files: dict[str, bytes], found: Sequence[Capacity], progress: Progress
) -> Runtime:
    """Chooses the runtime: the one requested, or else python-wasm-science if it is ready here and at half of the
    volunteers.
    """
    name = spec.runtime or bundles.runtime_asked_for(files)
    if name == MODULE:
        raise ConfigError(f"The runtime {MODULE} runs a module: give a .wasm file as the job.")
    if name is None:
        name = PYTHON
        offered = sum(SCIENCE in one.runtimes for one in found)
        if offered and 2 * offered >= len(found) and await deps.disk.run(runtimes.is_ready, SCIENCE):
            name = SCIENCE
    progress.state = "getting the runtime ready"
    return await runtimes.runtime_for(name, progress.note)


async def _with_packages(
    deps: Deps, files: dict[str, bytes], wanted: list[str], runtime: Runtime | None, folder: Path, progress: Progress
) -> dict[str, bytes]:
    """Adds the packages that the user's requirements name. They are kept in the bundle, for when the job is resumed."""
    if runtime is None:
        raise ConfigError("--with-requirements: no packages go along with a .wasm job.")
    progress.state = "getting the packages"
    command = await deps.disk.run(requirements.command, wanted, runtime.python, folder)
    done = None
    with trio.move_on_after(requirements.PIP_TIMEOUT_S):
        done = await trio.run_process(
            command, stdin=b"", capture_stdout=True, capture_stderr=True, check=False, umask=0o777 & ~private.MODE
        )
    if done is None:
        raise ConfigError(f"pip did not get the packages within {requirements.PIP_TIMEOUT_S:.0f} seconds.")
    found = await deps.disk.run(requirements.downloaded, folder, done.returncode, done.stderr)
    files = await deps.disk.run(bundles.with_wheels, files, found)
    await deps.disk.run(shutil.rmtree, folder, True)
    progress.note(f"every volunteer gets these packages too: {', '.join(path.name for path in found)}")
    return files


async def _input(
    deps: Deps, job: bytes, text: str, wait_s: float | None, made: MadeShares, progress: Progress
) -> JobInput:
    """Prepares an input. A path is shared until the job has ended; for a link, the manifest is fetched."""
    path = Path(text)
    if path.is_absolute() and not await deps.disk.run(exists, path):
        raise ConfigError(f"The input {text} does not exist.")
    if not is_link(text) and await deps.disk.run(exists, path):
        progress.state = f"indexing {path.name}"
        # What the user shares already is not changed.
        own = await deps.disk.run(deps.library.find_by_paths, [path])
        row = None if own is None else await deps.disk.run(deps.library.share, own)
        name, unlisted = (None, True) if row is None else (row.name, row.unlisted)
        times = False if row is None else None
        done = await deps.sharing.share(
            [path],
            name,
            Progress(),
            unlisted=unlisted,
            need_all=True,
            lasts=row is None or row.lasts,
            times=times,
            sure=row is not None,
        )
        for warning in done.warnings:
            progress.note(warning)
        if row is None or (row.unlisted and made.have(ShareId(row.id))):
            made.add(job, done.share_id)
        link = Link(done.share_id, done.name)
    else:
        progress.state = "looking for the input"
        link = parse_link(text)
        await deps.fetching.fetch_manifest(link, wait_s)
    manifest = await deps.disk.run(deps.library.manifest, link.share_id)
    files = tuple(("/".join(entry.path), entry.size) for entry in manifest.entries if entry.kind is EntryKind.FILE)
    return JobInput(link.share_id, manifest.root.name, files, link.peers)


def _check_bounds(spec: JobSpec) -> None:
    """Raises ConfigError for limits that no sandbox grants, or no volunteer accepts."""
    if not 0 <= spec.partitions <= MAX_UNITS_PER_STAGE:
        raise ConfigError(f"--partitions {spec.partitions}: {MAX_UNITS_PER_STAGE:,} at most, or 0 for as many as fit.")
    if spec.volunteers < 0:
        raise ConfigError(f"--volunteers {spec.volunteers}: 1 at least, or 0 for all that come.")
    if not 0 < spec.unit_memory <= MAX_MEMORY_BYTES:
        raise ConfigError(
            f"--unit-memory {spec.unit_memory}: {format_size(MAX_MEMORY_BYTES)} at most, and more than 0."
        )
    if not 0 < spec.unit_time_s <= MAX_WALL_S:
        raise ConfigError(f"--unit-time {spec.unit_time_s:g}s: {MAX_WALL_S / 3600:g}h at most, and more than 0.")
