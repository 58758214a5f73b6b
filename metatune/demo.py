"""The parts of ``metatune demo``: a real task, a search without and one with history, and what is learnt from both."""

from collections.abc import Callable
from importlib.util import find_spec

from sklearn.datasets import load_digits

from metatune.history.store import HistoryStore
from metatune.knowledge import Knowledge
from metatune.learners import get_family
from metatune.recommendation import Recommendation
from metatune.recommender import recommend
from metatune.result import Progress, TuneResult
from metatune.snapshot import snapshot_of
from metatune.task import Task
from metatune.tuner import tune

#: A tree ensemble and a neural network; the second needs the extra ``keras``.
FAMILIES = ("lightgbm", "keras_mlp")
METRIC = "log_loss"
#: The searches that are compared, in this order.
KINDS = ("cold", "warm")


def digits(*, seed: int = 0) -> Task:
    """Handwritten digits (Alpaydin and Kaynak, 1998; in scikit-learn): 1,797 images of 8 x 8 pixels, ten classes.

    Three pixels are blank in every image; leaving them out is noted in ``repairs``. One holdout keeps it short.
    """
    frame = load_digits(as_frame=True).frame
    return Task.from_dataframe(
        frame, "target", name="digits", metric=METRIC, validation="holdout", seed=seed, repair=True
    )


def is_known(task: Task, knowledge: Knowledge) -> bool:
    """Whether ``knowledge`` has seen the data of ``task``: then a comparison on it would prove nothing."""
    return any(study.task.fingerprint == task.fingerprint for study in knowledge.snapshot.studies)


def available_families() -> tuple[str, ...]:
    """Those of ``FAMILIES`` whose host is installed."""
    return tuple(name for name in FAMILIES if name != "keras_mlp" or find_spec("tensorflow") is not None)


def advice(task: Task, family: str, knowledge: Knowledge, *, seed: int = 0) -> Recommendation:
    """What ``knowledge`` recommends before anything was trained."""
    return recommend(task, family, 3, knowledge=knowledge, seed=seed)


def search(
    task: Task,
    family: str,
    kind: str,
    *,
    knowledge: Knowledge,
    store: HistoryStore,
    trials: int,
    timeout: float,
    seed: int = 0,
    on_trial: Callable[[Progress], None] | None = None,
) -> TuneResult:
    """A ``cold`` search (TPE, no history) or a ``warm`` one (the engine with ``knowledge``), equal in all else.

    The library's default configuration is the first trial of the cold one, and an early one of the warm one.
    """
    cold = kind == "cold"
    return tune(
        task,
        family,
        n_trials=trials,
        timeout=timeout,
        strategy="tpe" if cold else "meta",
        knowledge=False if cold else knowledge,
        store=store,
        warm_start=[get_family(family).default()] if cold else [],
        seed=seed,
        on_trial=on_trial,
    )


def relearn(store: HistoryStore, knowledge: Knowledge) -> Knowledge:
    """``knowledge`` with everything in ``store`` added; only families with new trials are trained again."""
    return Knowledge.build(knowledge.snapshot.merge(snapshot_of(store)), reuse=knowledge)
