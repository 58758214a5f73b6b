"""``tune``: search for the best configuration of a model family, or of anything else, on a task."""

import logging
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler

from metatune.errors import SearchError, UsageError
from metatune.guide import Guide
from metatune.history.mlflow_store import MLflowStore
from metatune.history.outbox import catch_up
from metatune.history.store import HistoryStore
from metatune.isolation import in_own_process
from metatune.knowledge import Knowledge
from metatune.learners.base import ModelFamily
from metatune.learners.evaluate import doubts, test_scores
from metatune.metafeatures import describe
from metatune.objective import FamilyJudge, FunctionJudge, Objective, Subject, named
from metatune.provenance import provenance
from metatune.recording import Recorder
from metatune.result import Progress, TuneResult
from metatune.resume import default_of, knowledge_of, notes_of, take_up, warm_start_of
from metatune.search.budget import check_amount, check_count
from metatune.search_loop import SearchLoop
from metatune.space import SearchSpace, check_space
from metatune.strategies import check_strategy, make_sampler
from metatune.study import StudyRecord
from metatune.task import Task, check_task
from metatune.trial import Configuration, Trial
from metatune.trial_process import Limits, end_unguarded
from metatune.wording import plural

_LOG = logging.getLogger("metatune")


def tune(
    task: Task,
    family: str | ModelFamily[Any] | None = None,
    *,
    n_trials: int = 25,
    timeout: float | None = None,
    patience: int | None = None,
    strategy: str = "meta",
    knowledge: Knowledge | bool | None = None,
    store: HistoryStore | Literal[False] | None = None,
    seed: int = 0,
    warm_start: Sequence[Configuration] = (),
    space: SearchSpace | None = None,
    default: Configuration | None = None,
    objective: Objective | None = None,
    resume: str | None = None,
    threads: int = 1,
    isolated: bool = False,
    trial_seconds: float | None = None,
    trial_memory: float | None = None,
    refit: bool = True,
    pruner: BasePruner | None = None,
    on_trial: Callable[[Progress], None] | None = None,
) -> TuneResult:
    """Search for the best configuration, guided by what earlier searches taught, and record every trial.

    ``family``: a model family or its name; by default ``lightgbm`` for tables, ``tfidf_linear`` for texts, and so on
    (``learners.default_family``). With an ``objective`` it only names what is tuned, so that histories meet;
    ``space`` and ``default`` (a configuration that is always tried early) then are those of the family with this name
    unless given.
    ``objective``: takes a configuration (a dict) and returns the task's metric in its own unit; if it has a
    parameter named ``report``, it gets a function there to report ``(step, value)`` on the way. One that raises, or
    returns no finite number, makes a failed trial. When the first five trials all raise one and the same error, or
    none of them returns a number at all, the search ends.
    ``n_trials``: trials in total, those before a ``resume`` included; fewer when all configurations of a finite space
    were tried, unless an ``objective`` is known to be noisy because one configuration (a warm start that is given
    twice, for example) got two scores. ``timeout``: seconds after which no further trial begins; while what is left of
    them seems too little for the trials that are left, proposals weigh what a trial promises against the seconds that
    it is expected to take. ``patience``: the search ends before, when so many trials in a row, warm starts not counted,
    have found nothing better.
    ``strategy``: see ``make_sampler``. ``warm_start``: configurations that are tried first.
    ``space``: another space than the family's; parameters that it leaves out keep the family's default.
    ``knowledge``: ``None`` for what ``Knowledge.find`` finds, ``False`` for a search without history.
    ``store``: where it is recorded; ``None`` for MLflow at its default address, ``False`` for nowhere.
    ``resume``: id of a study in the store, or its beginning, that is to go on; its seed, strategy and default hold.
    ``isolated``: run the trials one after the other in a process of their own, so that one which crashes fails alone.
    ``trial_seconds``: wall time after which a trial is stopped; ``trial_memory``: resident megabytes of its process at
    which it is (some 300 are taken before it begins). Either of them isolates; a trial beyond it has failed, its error
    says why, and the search goes on. The process imports the objective: no lambda, nothing defined in a notebook. The
    refit is not isolated.
    ``threads`` for the training of one model. ``refit``: train the best configuration on all but the test rows and
    score it there. ``pruner`` of Optuna, such as ``MetaPruner``; by default nothing is pruned. ``on_trial`` is called
    after every trial.

    Ctrl-C ends the search with a result that is ``interrupted``. Equal arguments give equal proposals, also after a
    resume, unless time is short. Raises, before anything is trained, ``UsageError`` for a wrong argument and
    ``StoreError`` for a store that cannot be used (for one that is away at the moment, trials wait in the local spool),
    and ``SearchError`` when no trial was complete; the trials are in the history even then.
    """
    end_unguarded()
    began = time.perf_counter()
    check_task(task)
    check_strategy(strategy)
    check_space(space)
    for field, count, least in (("n_trials", n_trials, 1), ("seed", seed, 0), ("threads", threads, 1)):
        check_count(field, count, least)
    if patience is not None:
        check_count("patience", patience, 1)
    _check_amounts(timeout=timeout, trial_seconds=trial_seconds, trial_memory=trial_memory)
    _check_kinds(warm_start, pruner, on_trial)
    history = _history(store)
    family = named(task, family, objective)
    name = family if isinstance(family, str) else family.name
    earlier: list[Trial] = []
    if resume is None:
        subject = Subject.of(task, family, objective=objective, space=space, default=default)
        warm_start = subject.checked(warm_start)
        guide = Guide.of(knowledge, strategy, name, task.metric, subject.space)
        record = _new_study(task, subject, guide, strategy=strategy, seed=seed, warm_start=warm_start)
    else:
        if history is not None:
            catch_up(history)
        record, earlier = take_up(history, resume, task, family=name, space=space, warm_start=warm_start)
        check_strategy(record.strategy)
        subject = Subject.of(task, family, objective=objective, space=record.space, default=default_of(record))
        guide = Guide.of(knowledge, record.strategy, name, task.metric, subject.space)
        guide = guide.compared_with(knowledge_of(record))
    judge = subject.judge(task, objective, seed=record.seed, threads=threads)
    recorder = Recorder(history, record)
    ended = sum(trial.status != "interrupted" for trial in earlier)
    sampler = _sampler(record, subject, guide, timeout=timeout, left=max(0, n_trials - ended))
    limits = Limits(trial_seconds, trial_memory)
    with in_own_process(judge, limits if isolated or limits != Limits() else None) as runner:
        loop = SearchLoop(record, runner, recorder, sampler=sampler, pruner=pruner, on_trial=on_trial)
        recorder.open()
        interrupted = _search(loop, recorder, earlier, n_trials=n_trials, timeout=timeout, patience=patience)
    result = replace(
        _result(loop, guide, judge, interrupted=interrupted),
        earlier=ended,
        wanted=n_trials if loop.ending else None,
        ending=loop.ending,
        recorded=history is not None,
    )
    if refit and isinstance(judge, FamilyJudge) and not interrupted:
        result = _with_model(result, judge)
    _attach(result, recorder)
    return replace(
        result,
        warnings=(*result.warnings, *_warnings_of(recorder)),
        unsaved=recorder.unsaved,
        seconds=time.perf_counter() - began,
    )


def _check_amounts(**amounts: float | None) -> None:
    for field, value in amounts.items():
        if value is not None:
            check_amount(field, value, "megabytes" if field == "trial_memory" else "seconds")


def _check_kinds(warm_start: object, pruner: object, on_trial: object) -> None:
    given = {
        "warm_start": (warm_start, isinstance(warm_start, Sequence), "Give a list of configurations: [{...}]."),
        "pruner": (pruner, pruner is None or isinstance(pruner, BasePruner), "Give a pruner of Optuna, or MetaPruner."),
        "on_trial": (on_trial, on_trial is None or callable(on_trial), "Give a function that takes a Progress."),
    }
    for field, (value, fits, remedy) in given.items():
        if not fits:
            raise UsageError("an argument of another type", field=field, value=value, remedy=remedy)


def _history(store: HistoryStore | Literal[False] | None) -> HistoryStore | None:
    if store is None:
        return MLflowStore()
    if store is False:
        return None
    if not hasattr(store, "add_trials"):
        raise UsageError(
            "not a history store",
            field="store",
            value=store,
            remedy="Give MLflowStore(uri), None for the default one, or False to record nothing.",
        )
    return store


def _new_study(
    task: Task, subject: Subject, guide: Guide, *, strategy: str, seed: int, warm_start: Sequence[Configuration]
) -> StudyRecord:
    return StudyRecord(
        task=task.record(describe(task)),
        family=subject.name,
        space=subject.space,
        strategy=strategy,
        seed=int(seed),
        notes=provenance() | notes_of(task, default=subject.default, warm_start=warm_start, knowledge=guide.note),
    )


def _sampler(record: StudyRecord, subject: Subject, guide: Guide, *, timeout: float | None, left: int) -> BaseSampler:
    return make_sampler(
        record.strategy,
        space=record.space,
        seed=record.seed,
        record=record.task,
        surrogate=guide.surrogate,
        default=subject.default,
        enqueued=len(warm_start_of(record)),
        timeout=timeout,
        n_trials=left,
    )


def _search(
    loop: SearchLoop,
    recorder: Recorder,
    earlier: Sequence[Trial],
    *,
    n_trials: int,
    timeout: float | None,
    patience: int | None,
) -> bool:
    """Run the loop, close the study however it ends, and tell whether Ctrl-C ended it.

    Raises ``SearchError`` if no trial was complete and none interrupted.
    """
    status = "failed"
    try:
        loop.replay(earlier)
        loop.enqueue(warm_start_of(loop.record)[len(loop.study.trials) :])
        loop.run(n_trials, timeout, patience)
        status = "failed" if loop.best is None else "finished"
    except KeyboardInterrupt:
        status = "interrupted"
    finally:
        recorder.close(status)
    if not loop.done and status == "failed":
        raise SearchError(
            "the time was over before the first trial",
            field="timeout",
            value=timeout,
            remedy="Give more seconds.",
        )
    if status == "failed":
        raise SearchError(
            f"none of {len(loop.trials)} trials was complete",
            field=f"search for {loop.record.family}",
            value=next((trial.error for trial in reversed(loop.trials) if trial.error), None),
            remedy="This was the last error; correct its cause. The trials are kept in the history.",
        )
    return status == "interrupted"


def _result(loop: SearchLoop, guide: Guide, judge: FamilyJudge | FunctionJudge, *, interrupted: bool) -> TuneResult:
    trials = sorted(loop.trials, key=lambda trial: (trial.number, trial.started))
    best = loop.best
    changes = judge.in_trials(best.configuration)[1] if best and isinstance(judge, FamilyJudge) else ()
    clamped = [
        f"{c.parameter} of the best configuration was limited to {c.after} in training: {c.reason}." for c in changes
    ]
    return TuneResult(
        task=loop.record.task,
        family=loop.record.family,
        study_id=loop.record.id,
        trials=tuple(trials),
        best_trial=best,
        study=loop.study,
        interrupted=interrupted,
        warnings=(*guide.warnings, *clamped),
    )


def _with_model(result: TuneResult, judge: FamilyJudge) -> TuneResult:
    """``result`` with the refitted best model and its test scores, or a warning why there is none."""
    best = result.best_trial
    assert best is not None
    try:
        model = judge.refit(best)
        found = test_scores(judge.task, model)
        doubtful = doubts(judge.task, found)
        return replace(result, model=model, test_scores=found, warnings=(*result.warnings, *doubtful))
    except KeyboardInterrupt:
        return replace(result, interrupted=True)
    # Training is third-party code that may raise anything; the search itself is not to be lost over it.
    except Exception as error:
        warning = f"The best configuration could not be refitted ({type(error).__name__}: {error})."
        _LOG.warning(warning)
        return replace(result, warnings=(*result.warnings, warning))


def _attach(result: TuneResult, recorder: Recorder) -> None:
    """Keep the result, which has the test scores, with the study."""
    status = "interrupted" if result.interrupted else "finished"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "result.json"
        result.write_json(path)
        recorder.close(status, [path])


def _warnings_of(recorder: Recorder) -> tuple[str, ...]:
    if recorder.problem is None and not recorder.unsaved:
        return ()
    waits = "`metatune sync` sends what waits" if recorder.kept else "in memory only"
    why = "" if recorder.problem is None else f": {recorder.problem.problem}"
    return (f"{plural(len(recorder.unsaved), 'trial')} not in the history yet ({waits}){why}.",)
