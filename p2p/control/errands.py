"""Errands: fetches and jobs together, where it does not matter which of them is meant. Both are known by their ids."""

from p2p.compute.owner.jobs import Jobs
from p2p.control import answers
from p2p.control.protocol import Emit
from p2p.control.user_fetches import UserFetch, UserFetches, errand
from p2p.errors import ConfigError
from p2p.formats import quoted


class Errands:
    """The fetches and jobs of one peer's user."""

    def __init__(self, fetches: UserFetches, jobs: Jobs) -> None:
        self.fetches = fetches
        self.jobs = jobs

    def fetch(self, text: str) -> UserFetch:
        """The one fetch whose id begins with this text. Raises ConfigError."""
        found = self.fetches.matching(text)
        if len(found) != 1:
            raise ConfigError(
                f"{len(found) or 'No'} fetches have an id that starts with {quoted(text)}: see `shoal fetches`."
            )
        return found[0]

    async def pause(self, text: str) -> answers.Errand:
        """Stops a fetch until it is resumed. Raises ConfigError."""
        return await self.fetches.pause(self.fetch(text))

    async def go_on(self, text: str, emit: Emit, *, background: bool, keep_serving: bool) -> answers.WentOn:
        """Resumes a fetch, and waits for its end unless it is to go on in the background. Raises ShoalError."""
        one = self.fetch(text)
        if background:
            return answers.WentOn(await self.fetches.resume_in_background(one))
        answer = await self.fetches.resume(one, emit, keep_serving=keep_serving)
        return answers.WentOn(errand(one), fetch=answer)

    async def remove(self, text: str, *, delete_files: bool) -> answers.RemovedErrand:
        """Forgets a fetch, and deletes its `.part` files or all its files. Raises ConfigError, StorageError."""
        one = self.fetch(text)
        removed = await self.fetches.remove(one, finished=delete_files)
        return answers.RemovedErrand(errand(one), removed.parts, removed.files, removed.changed)
