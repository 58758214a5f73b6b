"""``MLflowStore``: the history in MLflow, a parent run per study and a child run per trial."""

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from mlflow import MlflowClient
from mlflow.entities import Run

from metatune.errors import StoreError, UsageError
from metatune.history import mlflow_runs, schema
from metatune.history.address import Address
from metatune.history.mlflow_database import log_dataset, without_links
from metatune.history.mlflow_experiment import MLflowExperiment
from metatune.history.mlflow_runs import HEARTBEAT, PARENT, Find, OpenStudy
from metatune.history.sql_reader import SqlReader
from metatune.history.sql_writer import write_ended
from metatune.history.store import ENDINGS
from metatune.study import StudyRecord
from metatune.trial import Trial

#: A request that took longer may have been sent again by MLflow's client, and have been answered twice.
_SLOW_SECONDS = 2.0
_LOG = logging.getLogger("metatune")
_Record = TypeVar("_Record")


class MLflowStore:
    """The history in one experiment of an MLflow server or database; a ``HistoryStore``.

    ``uri`` is an MLflow tracking URI; its default and what may be used: see ``Address.of``.
    A new SQLite file gets its tables on first use (seconds), in WAL mode; its artifacts go to ``mlartifacts``
    beside it. Nothing is read or written before the first method is called. Of MLflow's global state, only the links
    to runs are silenced. Any thread may use it, one at a time.

    Raises ``UsageError`` for what is not a tracking URI; every method raises ``StoreError``. Runs that are damaged, or
    were written by another version, are left out by what reads, with one warning: see ``unreadable``.
    """

    def __init__(self, uri: str | None = None, experiment: str = "metatune") -> None:
        self.experiment = experiment
        self._address = Address.of(uri)
        self.uri = self._address.uri
        self._place = MLflowExperiment(self._address, experiment)
        self._open: dict[str, OpenStudy] = {}
        without_links()
        #: Why, by the id of the run, for every run that was left out so far.
        self.unreadable: dict[str, str] = {}

    def open_study(self, study: StudyRecord) -> None:
        """See ``HistoryStore``."""
        with self._place.client() as client:
            self._address.reach()
            known = self._reopened(client, study.id)
            if known is None:
                known = self._created(client, study)
            else:
                mlflow_runs.take_over(client, known, study)
            self._open[study.id] = known

    def add_trials(self, study_id: str, trials: Sequence[Trial]) -> None:
        """See ``HistoryStore``."""
        with self._place.client() as client:
            study, experiment = self._opened(client, study_id), self._place.made(client)
            for trial in trials:
                key = schema.token(trial.key)
                if key not in study.ended:
                    self._address.reach()
                    self._add(client, experiment, study, trial)

    def add_many(self, study_id: str, trials: Sequence[Trial]) -> None:
        """See ``HistoryStore``. Into MLflow's tables if they are in reach and known: see ``write_ended``."""
        with self._place.client() as client:
            study = self._opened(client, study_id)
            del self._open[study_id]  # looked up again if this fails: some batches may be there
            new = {key: trial for trial in trials if (key := schema.token(trial.key)) not in study.started}
            found = write_ended(self._address, study, [new[key] for key in new if key not in study.doubtful])
            study.started |= found
            study.ended |= found.keys()
            self._open[study_id] = study
        self.add_trials(study_id, trials)

    def _add(self, client: MlflowClient, experiment: str, study: OpenStudy, trial: Trial) -> None:
        key = schema.token(trial.key)
        if key in study.doubtful:
            self._look_up(client, experiment, study, key)
        data = schema.encode_trial(trial, study.record)
        study.doubtful.add(key)  # until the last call has come back
        began = time.monotonic()
        if key not in study.started:
            # The tags hold the whole trial: from this call on, it is in the history.
            run = client.create_run(experiment, run_name=data.name, tags={**data.tags, PARENT: study.run_id})
            study.started[key] = run.info.run_id
            if time.monotonic() - began > _SLOW_SECONDS:
                self._look_up(client, experiment, study, key)
        if key not in study.ended:
            mlflow_runs.finish(client, study.started[key], data, trial)
        study.doubtful.discard(key)
        study.ended.add(key)

    def close_study(self, study_id: str, *, status: str, artifacts: Sequence[Path] = ()) -> None:
        """See ``HistoryStore``."""
        if status not in ENDINGS:
            remedy = f"Use one of: {', '.join(ENDINGS)}."
            raise UsageError("unknown status of a study", field="status", value=status, remedy=remedy)
        with self._place.client() as client:
            study = self._opened(client, study_id)
            # Looked up again if this fails: another process may have begun the study too, and gone first.
            del self._open[study_id]
            for path in artifacts:
                client.log_artifact(study.run_id, str(path))
            client.set_terminated(study.run_id, schema.RUN_STATUS[status])
            self._open[study_id] = study

    def beat(self, study_id: str) -> None:
        """See ``HistoryStore``. A sign of life alone does not bring back what somebody deleted; a trial does."""
        with self._place.client() as client:
            self._address.reach()
            run_id = (self._open.get(study_id) or self._opened(client, study_id)).run_id
            if mlflow_runs.is_there(client, run_id):
                client.set_tag(run_id, HEARTBEAT, mlflow_runs.signature()[HEARTBEAT])

    def studies(self) -> list[StudyRecord]:
        """See ``HistoryStore``."""
        if self._place.absent:
            return []
        with self._place.client() as client:
            runs = self._runs(client, "study")
            found = {study.id: study for _, study in self._decoded(runs, mlflow_runs.decoded_study)}
        return sorted(found.values(), key=lambda study: (study.created, study.id))

    def study(self, study_id: str) -> StudyRecord:
        """See ``HistoryStore``. Raises ``UsageError`` for an unknown or ambiguous beginning of an id."""
        found = [study for study in self.studies() if study.id.startswith(study_id)]
        exact = [study for study in found if study.id == study_id]
        if len(exact or found) == 1:
            return (exact or found)[0]
        raise UsageError(
            "no study has this id" if not found else f"{len(found)} studies have ids that begin like this",
            field="study",
            value=study_id,
            remedy="`metatune history` lists the studies with their ids.",
        )

    def trials(self, study_id: str) -> list[Trial]:
        """See ``HistoryStore``."""
        if self._place.absent:
            return []
        with self._place.client() as client:
            runs = self._runs(client, "trial", study_id)
            return _ordered(trial for _, trial in self._decoded(runs, mlflow_runs.decoded_trial))

    def keys(self, study_id: str) -> set[str]:
        """See ``HistoryStore``. From MLflow's tables if they are in reach and known."""
        try:
            with SqlReader(self._address, self.experiment) as reader:
                return reader.keys(study_id)
        except StoreError:  # through MLflow's API, slower
            return {schema.token(trial.key) for trial in self.trials(study_id)}

    def records(self) -> Iterator[tuple[StudyRecord, list[Trial]]]:
        """See ``HistoryStore``. Trials whose study was deleted are left out."""
        if self._place.absent:
            return
        studies = self.studies()
        trials: defaultdict[str, list[Trial]] = defaultdict(list)
        with self._place.client() as client:
            for run, trial in self._decoded(self._runs(client, "trial"), mlflow_runs.decoded_trial):
                trials[run.data.tags.get(schema.STUDY_ID, "")].append(trial)
        for study in studies:
            yield study, _ordered(trials[schema.token(study.id)])

    def unfinished(self) -> list[str]:
        """Ids of the studies whose search runs now or was killed."""
        with self.runs() as find:
            running = find("study", running=True)
            return [study.id for _, study in self._decoded(running, mlflow_runs.decoded_study)]

    @contextmanager
    def runs(self) -> Iterator[Find]:
        """What finds the runs of studies and trials, for what looks after them."""
        if self._place.absent:
            yield Find()
            return
        with self._place.client() as client:
            yield Find(client, self._place.known(client))

    def identity(self) -> str | None:
        """What tells this experiment from another one that had its name; ``None`` if it does not exist."""
        if self._place.absent:
            return None
        with self._place.client() as client:
            known = self._place.known(client)
            return None if known is None else f"{known}/{client.get_experiment(known).creation_time}"

    def _decoded(self, runs: Iterable[Run], decode: Callable[[Run], _Record]) -> list[tuple[Run, _Record]]:
        """The readable ones of ``runs``; one warning names those that are not and were not named before."""
        found, failed = [], {}
        for run in runs:
            try:
                found.append((run, decode(run)))
            except StoreError as error:
                failed[run.info.run_id] = error.problem
        new = {run_id: problem for run_id, problem in failed.items() if run_id not in self.unreadable}
        if new:
            self.unreadable |= new
            _LOG.warning(
                "Runs of the history that cannot be read and are left out: %d (%s): %s",
                len(new),
                next(iter(new.values())),
                ", ".join(new),
            )
        return found

    def _runs(self, client: MlflowClient, record: str, study_id: str = "") -> Iterator[Run]:
        experiment = self._place.known(client)
        return iter(()) if experiment is None else mlflow_runs.search(client, experiment, record, study_id)

    def _opened(self, client: MlflowClient, study_id: str) -> OpenStudy:
        """The study that is written to; in a new run if its own was deleted, as for one that is taken up again."""
        self._address.reach()
        known = self._open.get(study_id)
        if known is not None and not mlflow_runs.is_there(client, known.run_id):
            # MLflow takes trials under a deleted run without a word, and nobody would ever read them.
            known = self._reopened(client, study_id) or self._created(client, known.record)
            _LOG.warning("The run of study %s was deleted in MLflow meanwhile: it has a new one.", study_id)
        known = known or self._reopened(client, study_id)
        if known is None:
            remedy = "Call open_study first; the study may have been deleted in MLflow."
            raise StoreError("no such study in the history", field="study", value=study_id, remedy=remedy)
        self._open[study_id] = known
        return known

    def _reopened(self, client: MlflowClient, study_id: str) -> OpenStudy | None:
        """A study that is in the store."""
        run = mlflow_runs.single(client, self._runs(client, "study", study_id))
        return None if run is None else self._with_trials(client, mlflow_runs.decoded_study(run), run)

    def _with_trials(self, client: MlflowClient, record: StudyRecord, run: Run) -> OpenStudy:
        """The study in ``run``; trials that an earlier process did not complete are completed later."""
        study = OpenStudy(record, run.info.run_id)
        for child in self._runs(client, "trial", record.id):
            key = child.data.tags.get(schema.TRIAL_KEY, "")
            if key in study.started:
                study.doubtful.add(key)
            study.started.setdefault(key, child.info.run_id)
            if child.info.status != "RUNNING":
                study.ended.add(key)
        for key in study.doubtful:
            self._look_up(client, self._place.made(client), study, key)
        study.doubtful.clear()
        return study

    def _created(self, client: MlflowClient, study: StudyRecord) -> OpenStudy:
        """A new study. Two processes may begin it at once: both then go on with the same one of their runs."""
        data = schema.encode_study(study)
        tags = {**data.tags, **mlflow_runs.signature()}
        made = client.create_run(self._place.made(client), run_name=data.name, tags=tags)
        run = mlflow_runs.single(client, self._runs(client, "study", study.id)) or made
        if run.info.run_id == made.info.run_id:
            log_dataset(client, run.info.run_id, mlflow_runs.dataset(study))
        # There are trials if that process was first, or if somebody deleted the run of the study and left theirs.
        return self._with_trials(client, study, run)

    def _look_up(self, client: MlflowClient, experiment: str, study: OpenStudy, key: str) -> None:
        """Find the run of a trial that may have been created without our knowing, or twice."""
        run = mlflow_runs.single(client, mlflow_runs.search(client, experiment, "trial", study.record.id, key))
        study.started.pop(key, None)
        if run is not None:
            study.started[key] = run.info.run_id
            if run.info.status != "RUNNING":
                study.ended.add(key)


def _ordered(trials: Iterable[Trial]) -> list[Trial]:
    """By number, each key once."""
    return sorted({trial.key: trial for trial in trials}.values(), key=lambda trial: (trial.number, trial.key))
