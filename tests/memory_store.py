"""A history in memory that can be made to fail, and a small problem to search on."""

from dataclasses import replace

from metatune.errors import StoreError, UsageError
from metatune.history.schema import token
from metatune.space import SearchSpace
from metatune.task import Task

PLANE = SearchSpace({"x": {"low": 0.0, "high": 1.0}, "y": {"low": 0.0, "high": 1.0}})


class MemoryStore:
    """A ``HistoryStore``; ``failing`` makes everything that writes raise, once a study is open."""

    uri = "memory"
    experiment = "metatune"

    def __init__(self):
        self.records_by_id, self.kept, self.status, self.artifacts = {}, {}, {}, {}
        self.failing = False

    def _written(self):
        if self.failing:
            raise StoreError("gone", field="store", value=self.uri, remedy="Wait.")

    def open_study(self, study):
        self._written()
        known = self.records_by_id.setdefault(study.id, study)
        if known.space.is_settled_by(study.space):
            self.records_by_id[study.id] = replace(known, space=study.space)
        self.kept.setdefault(study.id, {})
        self.status[study.id] = "running"

    def add_trials(self, study_id, trials):
        self._written()
        for trial in trials:
            self.kept[study_id].setdefault(trial.key, trial)

    add_many = add_trials

    def close_study(self, study_id, *, status, artifacts=()):
        self._written()
        self.status[study_id] = status
        self.artifacts.setdefault(study_id, []).extend(path.read_text() for path in artifacts)

    def beat(self, study_id):
        self._written()

    def studies(self):
        return list(self.records_by_id.values())

    def study(self, study_id):
        found = [study for study in self.studies() if study.id.startswith(study_id)]
        if len(found) != 1:
            raise UsageError("no such study", field="study", value=study_id, remedy="Look.")
        return found[0]

    def trials(self, study_id):
        return sorted(self.kept[study_id].values(), key=lambda trial: (trial.number, trial.started))

    def keys(self, study_id):
        return {token(key) for key in self.kept[study_id]}

    def records(self):
        return iter([(study, self.trials(study.id)) for study in self.studies()])


def bowl(configuration, x=0.2, y=0.7):
    """1 at (x, y), lower elsewhere."""
    return 1.0 - (configuration["x"] - x) ** 2 - (configuration["y"] - y) ** 2


def custom(name="new", direction="maximize", **options):
    return Task.custom(name, metric="height", direction=direction, **options)
