"""What is tried: one space-filling design per family, the same for every dataset, and the names of its trials.

The first configuration is the library's default. The others are a scrambled Sobol sequence (Sobol 1967; scrambling:
Owen 1998) in the unit cube of the family's space. A longer design begins with the shorter one, so configurations can
be added to a knowledge base later. Equal configurations on all datasets make their scores comparable.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from scipy.stats import qmc

from kb.catalogue import Entry
from kb.identity import DESIGN_SEED
from metatune.learners.base import ModelFamily
from metatune.trial import ParamValue, Trial


@dataclass(frozen=True)
class Evidence:
    """What the engine proposes from: ended ``trials`` of the study, and the folder of the ``knowledge`` of others."""

    trials: tuple[Trial, ...]
    knowledge: Path


@dataclass(frozen=True)
class Unit:
    """Work for one process: the trials ``numbers`` of ``family`` on ``entry``, at most ``row_cap`` rows of it.

    With ``evidence``, the engine proposes their configurations; otherwise they are those of the design.
    """

    entry: Entry
    family: str
    study_id: str
    numbers: tuple[int, ...]
    row_cap: int
    evidence: Evidence | None = None

    def going_on(self, numbers: tuple[int, ...], ended: Sequence[Trial]) -> "Unit":
        """What is left of the unit, the trials ``numbers``, after those that ``ended``."""
        evidence = self.evidence and replace(self.evidence, trials=(*self.evidence.trials, *ended))
        return replace(self, numbers=numbers, evidence=evidence)


def configurations(family: ModelFamily, n: int) -> list[dict[str, ParamValue]]:
    """The first ``n`` configurations of the design of ``family``; number 0 is its default."""
    space = family.space()
    powers = max(n - 2, 0).bit_length()
    seed = int.from_bytes(hashlib.sha256(f"{DESIGN_SEED}:{family.name}".encode()).digest()[:4])
    points = qmc.Sobol(len(space), scramble=True, rng=seed).random_base2(powers)
    return [family.default(), *(space.from_unit(point) for point in points)][:n]


def trial_key(study: str, number: int) -> str:
    """The key of trial ``number`` of ``study``: always the same, so that no trial is stored twice."""
    return hashlib.sha256(f"{study}:{number}".encode()).hexdigest()[:32]
