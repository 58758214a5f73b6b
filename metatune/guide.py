"""``Guide``: the knowledge that a search uses, or why it uses none."""

import logging
from dataclasses import dataclass, replace

from metatune.errors import KnowledgeError, UsageError
from metatune.knowledge import Knowledge, knowledge_directory, starter_directory
from metatune.metric import Metric
from metatune.space import SearchSpace
from metatune.surrogate.family import FamilySurrogate
from metatune.wording import sentence

_LOG = logging.getLogger("metatune")


@dataclass(frozen=True)
class Guide:
    """What a search knows beforehand: the surrogate, a note for the history, and warnings for the user."""

    surrogate: FamilySurrogate | None
    note: str
    warnings: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, knowledge: Knowledge | bool | None, strategy: str, family: str, metric: Metric, space: SearchSpace
    ) -> "Guide":
        """Read the knowledge, if the strategy uses any, and note which parameters of ``space`` it does not know.

        Raises ``KnowledgeError``, unless there simply is no knowledge.
        """
        if knowledge is not None and not isinstance(knowledge, Knowledge | bool):
            raise UsageError(
                "not a knowledge",
                field="knowledge",
                value=knowledge,
                remedy="Give Knowledge.load(folder), None for the one that is found, or False for none.",
            )
        if strategy != "meta" or knowledge is False:
            return cls(None, "not used")
        if not isinstance(knowledge, Knowledge):
            found = _found()
            if found is None:
                return cls._without("There is no knowledge yet (`metatune train` makes it)")
            knowledge = found
        surrogate = knowledge.surrogate(family, metric, missing_ok=True)
        if surrogate is None:
            return cls._without(f"The knowledge has no history of {family!r}")
        ignorance = surrogate.ignorance(space.parameters)  # ``MetaSampler`` logs it
        warnings = () if ignorance is None else (sentence(ignorance),)
        return cls(surrogate, knowledge.snapshot.digest, warnings)

    @classmethod
    def _without(cls, reason: str) -> "Guide":
        warning = f"{reason}: the search goes without history."
        _LOG.warning(warning)
        return cls(None, "none", (warning,))

    def compared_with(self, note: str) -> "Guide":
        """With a warning if a study that is taken up had another knowledge, as ``note`` says."""
        if note == self.note:
            return self
        warning = "The knowledge is another one than when the study began, so its proposals may be others."
        _LOG.warning(warning)
        return replace(self, warnings=(*self.warnings, warning))


def _found() -> Knowledge | None:
    """The knowledge that applies; ``None`` if none was named, trained or shipped. Raises ``KnowledgeError``."""
    try:
        return Knowledge.find()
    except KnowledgeError as error:
        missing = isinstance(error.__cause__, FileNotFoundError)
        if missing and knowledge_directory() == starter_directory():
            return None
        raise
