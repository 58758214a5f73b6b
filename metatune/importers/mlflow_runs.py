"""``import_mlflow``: the runs that a team already has in MLflow, autologged or logged by hand."""

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence

from metatune.history.foreign_run import ForeignRun
from metatune.history.foreign_runs import ForeignRuns
from metatune.history.store import HistoryStore
from metatune.importers import autolog
from metatune.importers.foreign import ForeignTrial, ImportLog, Origin, finite
from metatune.importers.intake import Settings, take_in
from metatune.importers.mapping import RunMapping, mapping_for
from metatune.importers.names import Names, Objective, is_training
from metatune.importers.report import ImportReport
from metatune.task import Task

#: Tags and params that usually name the data.
_DATASET_NAMES = ("dataset", "dataset_name", "data", "task", "data_name")
#: Names that autologging gives to every dataset.
_NAMELESS = {"dataset", "train", "training", "data"}
#: Classes whose ``score`` is R², and those where it is accuracy.
_REGRESSORS = re.compile(r"Regressor$|SVR$|^(LinearRegression|Ridge|Lasso|ElasticNet|Lars)(CV)?$|^BayesianRidge$")
_CLASSIFIERS = re.compile(r"Classifier$|SVC$|^LogisticRegression|NB$|Discriminant|^Perceptron$")
#: What a search's score is called if nothing tells more.
_PLAIN_SCORE = "score"
#: So many metrics of a run are named where one has to be chosen.
_NAMED = 4
_RUNNING = {"RUNNING", "SCHEDULED"}
_KERAS_NOTE = (
    "Keras autologging does not record the architecture (layers, units, dropout): only settings of the training were "
    "imported, as family 'keras'."
)


def import_mlflow(
    uri: str | None,
    store: HistoryStore,
    *,
    experiments: Sequence[str] = (),
    mappings: Sequence[RunMapping] = (),
    task: Task | None = None,
    names: Names | None = None,
    dry_run: bool = False,
) -> ImportReport:
    """Import the runs at the tracking address ``uri`` (see ``Address.of``) into ``store``.

    ``experiments``: only these. ``mappings`` say, by experiment, what hand-logged runs mean; the first that fits
    counts. Autologged runs of scikit-learn's searches, LightGBM, XGBoost and Keras need none. ``task``: all runs are
    on its data, whose meta-features are recorded; else each run's dataset, a tag, or the experiment names the task.

    Runs of metatune itself, runs that are still running and runs that have training scores only are left out.
    Raises ``StoreError``, ``UnknownNameError`` for an unknown experiment.
    """
    log = ImportLog()
    settings = Settings(store, names or Names.load(), task, dry_run)
    runs = ForeignRuns(uri)
    found = runs.experiments(experiments)

    def trials() -> Iterator[ForeignTrial]:
        for experiment, experiment_id in found.items():
            mapping = mapping_for(experiment, mappings)
            yield from _Experiment(runs, mapping, settings, log).trials(list(runs.runs(experiment, experiment_id)))

    return take_in(trials(), log, settings, source="MLflow")


class _Experiment:
    """Reads the runs of one experiment."""

    def __init__(self, source: ForeignRuns, mapping: RunMapping, settings: Settings, log: ImportLog) -> None:
        self._source = source
        self._mapping = mapping
        self._names = settings.names
        self._task = settings.task
        self._log = log
        self._runs: dict[str, ForeignRun] = {}

    def trials(self, runs: Sequence[ForeignRun]) -> Iterator[ForeignTrial]:
        """The trials among ``runs``; those without a score come last, with the metric that their siblings have."""
        self._runs = {run.id: run for run in runs}
        parents = Counter(run.parent for run in runs if run.parent is not None)
        searches = {run.id for run in runs if autolog.flavour(run) == autolog.SEARCH}
        origins: dict[tuple[str, str, str], Origin] = {}
        failed: list[ForeignRun] = []
        for run in runs:
            if run.parent in searches:
                self._log.skip("child run of a scikit-learn search: its cv_results.csv has all candidates")
            elif run.status in _RUNNING:
                self._log.skip("still running, or left so by a killed process")
            elif run.id in searches:
                yield from self._candidates(run)
            elif run.status == "FAILED" or run.status == "KILLED":
                failed.append(run)
            elif (objective := self._objective(run, has_children=run.id in parents)) is not None:
                origin = self._origin(run, objective)
                origins[self._place(run)] = origin
                yield self._trial(run, origin, objective)
        for run in failed:
            known = origins.get(self._place(run))
            if known is None:
                self._log.skip("failed, and no other run tells by which metric")
            else:
                yield self._failure(run, known)

    def _candidates(self, run: ForeignRun) -> Iterator[ForeignTrial]:
        rows = self._source.table(run.id, autolog.CV_RESULTS)
        if not rows:
            self._log.skip("scikit-learn search whose cv_results.csv cannot be read")
            return
        objective = self._scorer(run)
        if objective is None:
            return
        estimator, _ = autolog.searched_estimator(run)
        family = self._mapping.family or self._names.family(estimator)
        origin = Origin("mlflow", run.id, self._task_name(run), family, objective.metric, run.name)
        for candidate in autolog.candidates(run, rows):
            value = finite(candidate.value)
            yield ForeignTrial(
                origin=origin,
                id=f"{run.id}/{candidate.row}",
                parameters=candidate.parameters,
                status="failed" if value is None else "complete",
                value=None if value is None else objective.sign * value,
                seconds=candidate.seconds,
                started=math.nan if run.started is None else run.started,
                error="the score is NaN" if value is None else None,
            )

    def _scorer(self, run: ForeignRun) -> Objective | None:
        """What ``mean_test_score`` is, which is better when higher; ``None`` with an entry in the log if it is not what
        was asked for.
        """
        raw = _scoring(run)
        wanted = self._mapping.metric
        asked = None if wanted is None else self._names.objective(wanted, self._mapping.direction)
        if asked is not None and asked.metric.name == _PLAIN_SCORE:
            asked = wanted = None
        if wanted is None:
            return self._names.objective(raw, "maximize")
        known = None if raw == _PLAIN_SCORE else self._names.objective(raw)
        if asked is None:
            self._log.skip(f"metric {wanted!r} has no known direction: add --direction")
        elif known is not None and known.metric != asked.metric:
            contrary = f" to {asked.metric.direction}" if asked.metric.name == known.metric.name else ""
            self._log.skip(f"scikit-learn search by {raw!r}, not {wanted!r}{contrary}")
        else:
            return Objective(raw, asked.metric, 1.0 if asked.metric.direction == "maximize" else -1.0)
        return None

    def _objective(self, run: ForeignRun, *, has_children: bool) -> Objective | None:
        """What ``run`` was judged by; ``None`` with an entry in the log if it has nothing to learn from."""
        mapping, kind = self._mapping, autolog.flavour(run)
        if mapping.metric is not None and mapping.metric in run.metrics:
            found = self._names.objective(mapping.metric, mapping.direction)
            if found is None:
                self._log.skip(f"metric {mapping.metric!r} has no known direction: add --direction")
            return found
        usable = [name for name in run.metrics if not is_training(name) and not autolog.BOOKKEEPING.fullmatch(name)]
        if kind is not None:
            usable = [name for name in autolog.scores(run) if name in usable]
        if not run.params and has_children:
            self._log.skip("parent run: its child runs are the trials")
        elif mapping.metric is not None:
            others = f": there is {', '.join(sorted(usable)[:_NAMED])}" if usable else ""
            self._log.skip(f"no metric {mapping.metric!r}{others}")
        elif not run.metrics:
            self._log.skip("no metric")
        elif not usable:
            self._log.refuse(next((name for name in run.metrics if is_training(name)), next(iter(run.metrics))))
        else:
            return self._chosen(usable, autologged=kind is not None)
        return None

    def _chosen(self, usable: Sequence[str], *, autologged: bool) -> Objective | None:
        direction = self._mapping.direction
        known = [found for name in usable if (found := self._names.objective(name, direction))]
        if autologged or len(known) < 2:
            if not known:
                self._log.skip(f"metric {usable[0]!r} is not known: name it with --metric and --direction")
            return next(iter(known), None)
        held_out = [found for found in known if re.match("val|cv|mean_test", found.raw, re.IGNORECASE)]
        if len(held_out) == 1:
            return held_out[0]
        listed = ", ".join(sorted(found.raw for found in known)[:_NAMED])
        self._log.skip(f"several metrics ({listed}): say with --metric which one counts")
        return None

    def _trial(self, run: ForeignRun, origin: Origin, objective: Objective) -> ForeignTrial:
        kind = autolog.flavour(run)
        curve: tuple[float, ...] = ()
        best_step = None
        if kind in (autolog.KERAS, autolog.BOOSTING):
            curve, best_step = autolog.steps(run, self._source.history(run.id, objective.raw))
        if kind == autolog.KERAS:
            self._log.note(_KERAS_NOTE)
        value = finite(run.metrics[objective.raw])
        return ForeignTrial(
            origin=origin,
            id=run.id,
            parameters=self._parameters(run),
            status="failed" if value is None else "complete",
            value=None if value is None else objective.sign * value,
            metrics=self._others(run, objective, kind),
            curve=tuple(objective.sign * score for score in curve),
            best_step=best_step,
            seconds=_seconds(run),
            started=math.nan if run.started is None else run.started,
            error="the score is not finite" if value is None else None,
        )

    def _failure(self, run: ForeignRun, origin: Origin) -> ForeignTrial:
        return ForeignTrial(
            origin=origin,
            id=run.id,
            parameters=self._parameters(run),
            status="interrupted" if run.status == "KILLED" else "failed",
            value=None,
            seconds=_seconds(run),
            started=math.nan if run.started is None else run.started,
            error=f"{run.status} in MLflow",
        )

    def _others(self, run: ForeignRun, objective: Objective, kind: str | None) -> dict[str, float]:
        """The other metrics that are known and not of the training rows, under metatune's names."""
        names = run.metrics if kind is None else autolog.scores(run)
        found: dict[str, float] = {}
        for name in names:
            known = None if is_training(name) else self._names.objective(name)
            value = finite(run.metrics[name])
            if known is not None and value is not None and known.metric.name != objective.metric.name:
                found.setdefault(known.metric.name, known.sign * value)
        return found

    def _parameters(self, run: ForeignRun) -> dict[str, str]:
        wanted = self._mapping.parameters
        values = autolog.parameters(run)
        return values if wanted is None else {name: values[name] for name in wanted if name in values}

    def _origin(self, run: ForeignRun, objective: Objective) -> Origin:
        study, task, family = self._place(run)
        return Origin("mlflow", study, task, family, objective.metric, run.experiment)

    def _place(self, run: ForeignRun) -> tuple[str, str, str]:
        """Study, task and family of ``run``."""
        return self._study(run), self._task_name(run), self._family(run)

    def _study(self, run: ForeignRun) -> str:
        """What holds ``run``: its experiment, or the run above it that has a score or is the topmost.

        A run between them that has no score, as one for each job of a sweep, would make a study of a single trial.
        """
        lineage = list(self._with_parents(run))
        for above in lineage[1:]:
            if above.metrics or above.parent is None:
                return above.id
        return lineage[-1].parent or run.experiment  # the topmost may be deleted, or in another experiment

    def _family(self, run: ForeignRun) -> str:
        if self._mapping.family is not None:
            return self._mapping.family
        estimator = run.tags.get("estimator_name") or run.tags.get("mlflow.autologging")
        if estimator and estimator != "sklearn":
            return self._names.family(estimator)
        return {autolog.KERAS: "keras", autolog.BOOSTING: "lightgbm"}.get(autolog.flavour(run) or "", run.experiment)

    def _task_name(self, run: ForeignRun) -> str:
        mapping = self._mapping
        if self._task is not None:
            return self._task.name
        if mapping.task is not None:
            return mapping.task
        names = (mapping.dataset_tag,) if mapping.dataset_tag else _DATASET_NAMES
        found = (_dataset_of(one, names) for one in self._with_parents(run))
        return next((name for name in found if name is not None), run.experiment)

    def _with_parents(self, run: ForeignRun) -> Iterator[ForeignRun]:
        """``run``, the run that holds it, and so on: what all trials have in common is often logged there alone."""
        seen: set[str] = set()
        one: ForeignRun | None = run
        while one is not None and one.id not in seen:
            seen.add(one.id)
            yield one
            one = self._runs.get(one.parent or "")


def _dataset_of(run: ForeignRun, names: Sequence[str]) -> str | None:
    """What ``run`` itself tells of its data: a tag or param with one of ``names``, or a dataset that was logged."""
    told = next((told for name in names if (told := run.tags.get(name) or run.params.get(name))), None)
    if told is None and run.dataset is not None:
        name, digest = run.dataset
        return f"data {digest}" if name in _NAMELESS else name
    return told


def _scoring(run: ForeignRun) -> str:
    """The scorer of a search: the one named, or that of its estimator, or ``_PLAIN_SCORE`` for what nobody knows."""
    scoring = run.params.get("scoring", "None")
    refit = run.params.get("refit", "True")
    if scoring == "None":
        estimator, _ = autolog.searched_estimator(run)
        regression, classification = _REGRESSORS.search(estimator), _CLASSIFIERS.search(estimator)
        return "r2" if regression else "accuracy" if classification else _PLAIN_SCORE
    if re.fullmatch(r"\w+", scoring):
        return scoring
    return refit if re.fullmatch(r"\w+", refit) and refit not in ("True", "False") else _PLAIN_SCORE


def _seconds(run: ForeignRun) -> float:
    return math.nan if run.started is None or run.ended is None else run.ended - run.started
