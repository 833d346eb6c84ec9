"""Packs environments for the user."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from p2p import ids
from p2p.control import answers
from p2p.control import protocol as requests
from p2p.control.protocol import Emit, Note
from p2p.control.reporting import reported
from p2p.discovery.links import Links
from p2p.progress import Progress

if TYPE_CHECKING:
    from p2p.environments.environments import Environments

MAX_LEFT_OUT = 1000


class Packing:
    """Has environments packed; `environments` loads what does that."""

    def __init__(self, environments: Callable[[], "Environments"], links: Links) -> None:
        self._environments = environments
        self._links = links

    async def pack(self, request: requests.PackRequest, emit: Emit) -> answers.PackAnswer:
        progress = Progress(state="looking for the environment's files", name=Path(request.source).name)
        async with reported(progress, emit):
            made = await self._environments().packs.pack(
                Path(request.source), request.name, request.include, [*map(Path, request.more)], progress
            )
        if made.packed.missing:
            await emit(Note(f"not found, though something is linked with it: {', '.join(made.packed.missing)}"))
        return answers.PackAnswer(
            link=self._links.to(made.shared.share_id, made.shared.name, made.shared.bytes),
            id=ids.to_text(made.shared.share_id),
            name=made.shared.name,
            folder=str(made.folder),
            python=made.packed.description.python,
            bytes=made.shared.bytes,
            files=made.shared.files,
            packed=made.fresh,
            seconds=round(made.seconds, 3),
            left_out=tuple(answers.SkippedFile(one.path, one.why) for one in made.left_out[:MAX_LEFT_OUT]),
            left_out_count=len(made.left_out),
        )
