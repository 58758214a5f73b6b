"""The validation report of the knowledge base: how well each family's history foretells datasets that were left out."""

from kb.card import table
from metatune.knowledge import Knowledge

_INTRODUCTION = """\
# Validation of the starter knowledge base

Groups of datasets are left out, a fifth of them at a time, and the LightGBM meta-surrogate that is trained on the rest
predicts the order of the configurations that were tried on them: mean Spearman rank correlation of predicted and true
order, 1 the best, 0 no better than chance. Meta-features are used where they raise it by more than two standard errors
of the difference, and there are ten datasets or more.

Written by `python scripts/build_knowledge_base.py export`, from what the knowledge itself recorded when it was trained.
What it is worth in a search is in `docs/benchmarks.md`.

"""


def report(knowledge: Knowledge) -> str:
    """The text of the report; families that taught nothing are not listed."""
    rows = []
    for family in knowledge.families:
        surrogate = knowledge.surrogate(family)
        if surrogate is not None:
            found = surrogate.validation
            used = "yes" if found.use_features else "no"
            with_and_without = [f"{r:.2f}" for r in (found.correlation, found.correlation_without_features)]
            rows.append((family, found.tasks, f"{found.trials:,}", *with_and_without, used))
    header = ("family", "datasets", "trials", "with meta-features", "without", "meta-features used")
    return _INTRODUCTION + table(header, rows)
