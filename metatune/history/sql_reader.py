"""``SqlReader``: runs straight from MLflow's tables, read-only; about a hundred times as fast as its API.

Only for SQLite and PostgreSQL, and only for versions of the tables whose parts used here have been checked.
"""

import contextlib
import sqlite3
from collections.abc import Container, Iterator, Sequence
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv
from sqlalchemy import bindparam, text
from sqlalchemy.exc import SQLAlchemyError

from metatune.errors import StoreError, first_line
from metatune.history import schema
from metatune.history.address import Address
from metatune.history.connections import in_use
from metatune.history.defects import Uneven
from metatune.history.runs import KNOWN, Record, StoredRun, is_content
from metatune.history.sql_schema import check, engine_of, unknown
from metatune.redaction import redacted

_COLUMNS = {
    "experiments": {"experiment_id", "name", "workspace", "lifecycle_stage", "creation_time"},
    "runs": {"run_uuid", "experiment_id", "status", "lifecycle_stage", "start_time", "end_time"},
    "tags": {"run_uuid", "key", "value"},
}
_INSTEAD = "It is read through MLflow's API, slower."
#: A tag that only runs of this record have: an index answers who has it, where the value of a tag takes a look at each.
_MARK: dict[Record, str] = {"study": schema.SPACE, "trial": schema.TRIAL_KEY}
_IDS = 500

_EXPERIMENT = text(
    "SELECT experiment_id, creation_time, lifecycle_stage FROM experiments WHERE name = :name AND workspace = 'default'"
)
_RUNNING = text(
    "SELECT count(*) FROM runs WHERE experiment_id = :experiment AND lifecycle_stage = 'active' AND status = 'RUNNING'"
)
# Studies and trials by what their tags name them; of a study both names are one.
_NAMED = """
    SELECT study.value AS study, own.value AS own FROM tags AS own
    JOIN runs USING (run_uuid) JOIN tags AS study ON study.run_uuid = own.run_uuid AND study.key = :study_key
    WHERE own.key = :own_key AND experiment_id = :experiment AND lifecycle_stage = 'active'
"""
_DOUBLED_STUDIES = text(f"SELECT study FROM ({_NAMED}) AS named GROUP BY study HAVING count(*) > 1 ORDER BY study")
_DOUBLED_TRIALS = text(
    f"SELECT study, own FROM ({_NAMED}) AS named GROUP BY study, own HAVING count(*) > 1 ORDER BY study, own"
)
_LOST = text(
    f"SELECT own FROM ({_NAMED}) AS named WHERE study NOT IN "
    f"(SELECT study FROM ({_NAMED.replace(':own_key', ':space_key')}) AS studies) "
    "GROUP BY study, own ORDER BY study, own"
)
_KEYS = text(
    "SELECT own.value FROM tags AS study JOIN runs USING (run_uuid) JOIN tags AS own USING (run_uuid) "
    "WHERE study.key = :study_key AND study.value = :study AND own.key = :trial_key "
    "AND experiment_id = :experiment AND lifecycle_stage = 'active'"
)
# Two scans, joined here: a join in the database takes a look at the table for each run. One text each, a line per run:
# a table is made of that at once, where rows would become objects one by one.
_RUNS = """
    SELECT {joined}(run_uuid || ',' || COALESCE(CAST(NULLIF(end_time, 0) AS TEXT), ''), '\n')
    FROM runs WHERE experiment_id = :experiment AND lifecycle_stage = 'active'
"""
_MARKED = "SELECT {joined}(run_uuid, '\n') FROM tags WHERE key = :key"
_JOINED = {"sqlite": "group_concat", "postgresql": "string_agg"}
_STUDY_OF = text("SELECT run_uuid, value FROM tags WHERE key = :key AND run_uuid IN :runs").bindparams(
    bindparam("runs", expanding=True)
)
_TIMES = text("SELECT run_uuid, start_time, NULLIF(end_time, 0) FROM runs WHERE run_uuid IN :runs").bindparams(
    bindparam("runs", expanding=True)
)
_TAGS = text("SELECT run_uuid, key, value FROM tags WHERE run_uuid IN :runs AND key LIKE 'metatune.%'").bindparams(
    bindparam("runs", expanding=True)
)


class SqlReader:
    """A ``RunReader`` in one read-only transaction; a context manager.

    Raises ``StoreError`` for tables of another version, other databases, and what the driver raises.
    """

    path: Literal["sql", "api"] = "sql"

    def __init__(self, address: Address, experiment: str) -> None:
        self._address = address
        self._name = experiment
        self._active: dict[Record, pa.Table] = {}
        self._runs: pa.Table | None = None
        self._id: int | None = None

    def __enter__(self) -> "SqlReader":
        with self._boundary(), contextlib.ExitStack() as opened:
            opened.enter_context(in_use(self._address))
            if self._address.file is None and not self._address.uri.startswith("postgres"):
                kind = self._address.uri.split(":")[0]
                raise unknown(self._address, "not SQLite or PostgreSQL", kind, instead=_INSTEAD)
            engine = engine_of(self._address, read_only=True)
            opened.callback(engine.dispose)
            self._connection = opened.enter_context(engine.connect())
            if self._address.file is not None:
                self._connection.exec_driver_sql("PRAGMA query_only = ON")
                self._connection.exec_driver_sql("BEGIN")
            check(self._connection, self._address, _COLUMNS, instead=_INSTEAD)
            self._opened = opened.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def experiment(self) -> str | None:
        """See ``RunReader``."""
        with self._boundary():
            row = self._connection.execute(_EXPERIMENT, {"name": self._name}).one_or_none()
        if row is None:
            return None
        if row.lifecycle_stage != "active":
            raise StoreError(
                "the experiment was deleted in MLflow",
                field="experiment",
                value=self._name,
                remedy="Restore it (`mlflow experiments restore`) or choose another name.",
            )
        self._id = row.experiment_id
        return f"{row.experiment_id}/{row.creation_time}"

    def keys(self, study_id: str) -> set[str]:
        """The keys of the undeleted trials of a study, as ``schema.token`` writes them."""
        if self.experiment() is None:
            return set()
        names = {"study_key": schema.STUDY_ID, "trial_key": schema.TRIAL_KEY}
        with self._boundary():
            found = self._connection.execute(_KEYS, {**names, "study": schema.token(study_id), "experiment": self._id})
            return set(found.scalars())

    def running(self) -> int:
        """How many undeleted runs are not marked as ended."""
        if self.experiment() is None:
            return 0
        with self._boundary():
            return int(self._connection.execute(_RUNNING, {"experiment": self._id}).scalar_one())

    def uneven(self) -> Uneven:
        """Which studies and trials have more or fewer runs than one, and a study."""
        if self.experiment() is None:
            return Uneven((), (), ())
        names = {"study_key": schema.STUDY_ID, "experiment": self._id}
        studies, trials = names | {"own_key": _MARK["study"]}, names | {"own_key": _MARK["trial"]}
        with self._boundary():
            return Uneven(
                tuple(self._connection.execute(_DOUBLED_STUDIES, studies).scalars()),
                tuple((study, key) for study, key in self._connection.execute(_DOUBLED_TRIALS, trials)),
                tuple(self._connection.execute(_LOST, trials | {"space_key": _MARK["study"]}).scalars()),
            )

    def changes(
        self, record: Record, known: pa.Table, *, since: int, studies: Container[str], everything: bool
    ) -> Iterator[StoredRun]:
        """See ``RunReader``. All runs are compared by id and end, whenever they ended: no clock can hide one."""
        with self._boundary():
            active = self._active[record] = self._heads(record)
            differs = _differs(active, known)
            if record == "study":  # one that runs may have settled its space
                differs = pc.or_(differs, pc.is_null(active["ended"]))
            wanted = active["run"] if everything else active.filter(differs)["run"]
            for chunk in range(0, len(wanted), _IDS):
                runs = wanted.slice(chunk, _IDS).to_pylist()
                if record == "trial":
                    runs = self._of_studies(runs, studies)
                yield from self._stored(runs)

    def gone(self, record: Record, known: pa.Table, *, everything: bool) -> set[str]:
        """See ``RunReader``."""
        active = pc.is_in(known["run"], value_set=self._active[record]["run"])
        return set(known["run"].filter(pc.invert(active)).to_pylist())

    def _heads(self, record: Record) -> pa.Table:
        """Ids and ends of all undeleted runs, as a table with the columns ``KNOWN``."""
        if self._id is None:
            return KNOWN.empty_table()
        if self._runs is None:
            self._runs = self._table(_RUNS, KNOWN, {"experiment": self._id})
        marked = self._table(_MARKED, pa.schema([KNOWN.field("run")]), {"key": _MARK[record]})
        return self._runs.filter(pc.is_in(self._runs["run"], value_set=marked["run"]))

    def _table(self, query: str, names: pa.Schema, parameters: dict[str, Any]) -> pa.Table:
        joined = text(query.format(joined=_JOINED[self._connection.dialect.name]))
        lines: str | None = self._connection.execute(joined, parameters).scalar()
        if lines is None:
            return names.empty_table()
        return csv.read_csv(
            pa.py_buffer(lines.encode()),
            read_options=csv.ReadOptions(column_names=names.names),
            parse_options=csv.ParseOptions(quote_char=False),
            convert_options=csv.ConvertOptions(column_types=names),
        ).combine_chunks()

    def _of_studies(self, runs: Sequence[str], studies: Container[str]) -> list[str]:
        rows = self._connection.execute(_STUDY_OF, {"key": schema.STUDY_ID, "runs": runs})
        return [run for run, study in rows if study in studies]

    def _stored(self, runs: Sequence[str]) -> Iterator[StoredRun]:
        if not runs:
            return
        tags: dict[str, dict[str, str]] = {run: {} for run in runs}
        for run, key, value in self._connection.execute(_TAGS, {"runs": runs}):
            if is_content(key):
                tags[run][key] = value
        for run, started, ended in self._connection.execute(_TIMES, {"runs": runs}):
            yield StoredRun(run, int(started or 0), ended, tags[run])

    @contextlib.contextmanager
    def _boundary(self) -> Iterator[None]:
        try:
            yield
        except (SQLAlchemyError, sqlite3.Error, pa.ArrowInvalid, OSError, ImportError) as error:
            raise StoreError(
                f"the database cannot be read ({first_line(error)})",
                field="store",
                value=redacted(self._address.uri),
                remedy=self._address.remedy(str(error)),
            ) from error


def _differs(active: pa.Table, known: pa.Table) -> pa.Array:
    """Which of ``active`` are not in ``known``, or ended at another time."""
    place = pc.index_in(active["run"], value_set=known["run"].combine_chunks())
    before = known["ended"].take(place)
    same = pc.fill_null(pc.equal(active["ended"], before), False)
    neither = pc.and_(pc.is_null(active["ended"]), pc.is_null(before))
    return pc.invert(pc.and_(pc.is_valid(place), pc.or_(same, neither)))
