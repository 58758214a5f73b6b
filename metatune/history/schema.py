"""Studies and trials as MLflow holds them: params, metrics and tags, without MLflow itself.

Each run carries one JSON document, cut into numbered tags, from which it is decoded exactly. Params, metrics and the
other tags repeat parts of it for people who read or filter runs in MLflow, where names and values are limited.
"""

import hashlib
import json
import math
import posixpath
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from metatune.errors import MetatuneError, StoreError
from metatune.history.kinds import check_study, check_trial
from metatune.metric import Metric
from metatune.space import SearchSpace
from metatune.study import StudyRecord
from metatune.task import TaskRecord
from metatune.trial import Trial

#: Version of the documents; a change of their fields raises it and keeps a decoder for the older ones, unless it only
#: adds fields that may be absent.
SCHEMA_VERSION = 1

#: MLflow's limits, in characters, for the names of all entities and the values of params and tags.
NAME_LIMIT, PARAM_LIMIT, TAG_LIMIT = 250, 6_000, 8_000

#: Tags by which runs are found.
SCHEMA, RECORD, STUDY_ID, TRIAL_KEY, SPACE = (
    "metatune.schema",
    "metatune.record",
    "metatune.study",
    "metatune.trial_key",
    "metatune.space",
)
#: Beginning of the names of the tags that hold the document.
DOCUMENT = "metatune.document"
_LEGAL = r"\w./ \-"


@dataclass(frozen=True)
class MetricPoint:
    """One value of a metric; steps of a curve count from 1, a single value has step 0."""

    name: str
    value: float
    step: int = 0


@dataclass(frozen=True)
class RunData:
    """What one MLflow run holds. ``name`` is the run's name; ``status`` how it ends, ``None`` while it runs."""

    name: str
    params: Mapping[str, str]
    metrics: tuple[MetricPoint, ...]
    tags: Mapping[str, str]
    status: str | None = None


#: MLflow's status for each status of a trial, and for each way in which a study ends.
RUN_STATUS = {
    "complete": "FINISHED",
    "pruned": "FINISHED",
    "failed": "FAILED",
    "interrupted": "KILLED",
    "finished": "FINISHED",
}


def to_json(value: object) -> str:
    """``value`` as ASCII JSON that ``from_json`` reads back exactly, NaN and infinities included."""
    return json.dumps(value, separators=(",", ":"), default=_plain)


def from_json(text: str) -> Any:
    """What ``to_json`` was given. Raises ``ValueError`` for other text."""
    return json.loads(text, parse_constant=_CONSTANTS.__getitem__)


# One object for every NaN: two records decoded from equal text then compare equal.
_CONSTANTS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def _plain(value: object) -> object:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} cannot be kept in the history")


def study_document(study: StudyRecord) -> str:
    """The whole of ``study`` as JSON; ``study_of`` gives it back."""
    fields = {name: getattr(study, name) for name in ("id", "family", "strategy", "seed", "created", "notes")}
    task = {name: getattr(study.task, name) for name in study.task.__dataclass_fields__}
    task["metric"] = asdict(study.task.metric)
    return to_json({**fields, "task": task, "space": json.loads(study.space.to_json())})


def study_of(document: str, source: str = "document") -> StudyRecord:
    """The study that ``study_document`` wrote. Raises ``StoreError`` naming ``source`` for anything else."""
    try:
        raw = from_json(document)
        check_study(raw)
        task = TaskRecord(**{**raw["task"], "metric": Metric(**raw["task"]["metric"])})
        space = _space_of(json.dumps(raw["space"]))
        return StudyRecord(**{**raw, "task": task, "space": space})
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, MetatuneError) as error:
        raise _damaged(source, "study", document, error) from error


@lru_cache(maxsize=256)
def _space_of(text: str) -> SearchSpace:
    """The space; thousands of studies share a few, which cannot change."""
    return SearchSpace.from_json(text)


def trial_document(trial: Trial) -> str:
    """The whole of ``trial`` as JSON; ``trial_of`` gives it back."""
    fields = {name: getattr(trial, name) for name in trial.__dataclass_fields__}
    fields["configuration"], fields["metrics"] = dict(trial.configuration), dict(trial.metrics)
    return to_json(fields)


def trial_of(document: str, source: str = "document") -> Trial:
    """The trial that ``trial_document`` wrote; older documents lack some of the fields that may be ``None`` or empty.

    Raises ``StoreError`` naming ``source`` for anything else.
    """
    try:
        raw = from_json(document)
        check_trial(raw)
        reported = tuple((step, value) for step, value in raw.get("reported", ()))
        return Trial(**{**raw, "curve": tuple(raw["curve"]), "reported": reported})
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, MetatuneError) as error:
        raise _damaged(source, "trial", document, error) from error


def _damaged(source: str, record: str, text: object, error: Exception) -> StoreError:
    return StoreError(
        f"not a {record} of the history ({type(error).__name__}: {error})",
        field=source,
        value=text,
        remedy="Delete the damaged run in MLflow; the rest of the history stays usable.",
    )


def encode_study(study: StudyRecord) -> RunData:
    """The parent run of ``study``."""
    task = study.task
    tags = {
        SCHEMA: str(SCHEMA_VERSION),
        RECORD: "study",
        STUDY_ID: token(study.id),
        "metatune.task": task.name,
        "metatune.kind": task.kind,
        "metatune.group": task.group,
        "metatune.direction": task.metric.direction,
        "metatune.strategy": study.strategy,
        SPACE: study.space.digest,
        **_shared(study),
    }
    return RunData(
        name=readable(f"{study.family} on {task.name}", NAME_LIMIT),
        params={},
        metrics=(),
        tags=_readable(tags) | _split(study_document(study)),
    )


def decode_study(tags: Mapping[str, str], run: str = "run") -> StudyRecord:
    """The study of a parent run, from its tags. Raises ``StoreError`` naming ``run``."""
    return study_of(_joined(tags, run), run)


def encode_trial(trial: Trial, study: StudyRecord) -> RunData:
    """The child run of ``trial`` in ``study``: its declared parameters are the params.

    The curve is a metric of its own, ``curve/<metric>``, because the last step need not be the trial's value.
    """
    tags = {
        SCHEMA: str(SCHEMA_VERSION),
        RECORD: "trial",
        STUDY_ID: token(study.id),
        TRIAL_KEY: token(trial.key),
        "metatune.number": str(trial.number),
        "metatune.status": trial.status,
        "metatune.origin": trial.origin,
        **({} if trial.odds is None else {"metatune.odds": f"{trial.odds:.6g}"}),
        **({} if trial.trusted is None else {"metatune.trusted": str(trial.trusted)}),
        "metatune.seconds": f"{trial.seconds:.6g}",
        "metatune.fidelity": f"{trial.fidelity:.6g}",
        **({} if trial.error is None else {"metatune.error": trial.error}),
        **_shared(study),
    }
    name = study.task.metric.name
    scores = {**trial.metrics, **({} if trial.value is None else {name: trial.value})}
    points = [MetricPoint(legal_name(key), float(value)) for key, value in scores.items()]
    curve = legal_name(name, "curve/")
    points += [MetricPoint(curve, float(value), step) for step, value in enumerate(trial.curve, 1)]
    return RunData(
        name=f"trial {trial.number}",
        params={
            legal_name(key): readable(value, PARAM_LIMIT)
            for key, value in trial.configuration.items()
            if key in study.space
        },
        metrics=tuple(point for point in points if math.isfinite(point.value)),
        tags=_readable(tags) | _split(trial_document(trial)),
        status=RUN_STATUS[trial.status],
    )


def decode_trial(tags: Mapping[str, str], run: str = "run") -> Trial:
    """The trial of a child run, from its tags. Raises ``StoreError`` naming ``run``."""
    return trial_of(_joined(tags, run), run)


def _shared(study: StudyRecord) -> dict[str, str]:
    """Tags that a study and its trials have in common."""
    return {
        "metatune.fingerprint": study.task.fingerprint,
        "metatune.family": study.family,
        "metatune.metric": study.task.metric.name,
    }


def _readable(tags: Mapping[str, str]) -> dict[str, str]:
    return {key: readable(value, TAG_LIMIT) for key, value in tags.items()}


def _split(document: str) -> dict[str, str]:
    parts = [document[i : i + TAG_LIMIT] for i in range(0, len(document), TAG_LIMIT)]
    return {f"{DOCUMENT}.{i}": part for i, part in enumerate(parts)} | {f"{DOCUMENT}.parts": str(len(parts))}


def _joined(tags: Mapping[str, str], source: str) -> str:
    """The document in ``tags``. Raises ``StoreError`` for another schema version or a missing part."""
    version = tags.get(SCHEMA)
    if version != str(SCHEMA_VERSION):
        older = version is not None and version.isdigit() and int(version) < SCHEMA_VERSION
        raise StoreError(
            f"written with another version of the schema (this one is {SCHEMA_VERSION})",
            field=f"{source}, tag {SCHEMA}",
            value=version,
            remedy="Use the older metatune that wrote it, or begin another experiment."
            if older
            else "Update metatune on this machine to the version that wrote it.",
        )
    try:
        return "".join(tags[f"{DOCUMENT}.{i}"] for i in range(int(tags[f"{DOCUMENT}.parts"])))
    except (KeyError, ValueError) as error:
        raise _damaged(source, "record", sorted(tags), error) from error


def token(identifier: str) -> str:
    """``identifier`` as a tag by which MLflow can search: itself, or a hash if it has unusual characters."""
    if re.fullmatch(r"[A-Za-z0-9_.-]{1,100}", identifier):
        return identifier
    return hashlib.sha256(identifier.encode(errors="surrogatepass")).hexdigest()


def readable(value: object, limit: int) -> str:
    """``value`` as a person reads it, on one line of at most ``limit`` characters."""
    text = value if isinstance(value, str) and value.isprintable() else to_json(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def legal_name(name: str, prefix: str = "") -> str:
    """``name`` as MLflow allows params and metrics to be named; ``original_name`` gives it back.

    MLflow allows letters, digits and ``_-./ :`` and refuses what is not a normal relative path. Other characters
    become ``_x<hex>_``; the colon too, since MLflow on Windows refuses it. What is then too long is cut, and made
    unique by a hash (such a name cannot be restored; the document has it).
    """
    text = re.sub(rf"_(?=x[0-9a-f]*([_/]|[^{_LEGAL}]))|[^{_LEGAL}]", _escape, name) or "_x_"
    if posixpath.normpath(text) != text or text.startswith(("..", "/")) or text == ".":
        text = re.sub(r"^\.|/", _escape, text)
    text = prefix + text
    if len(text) <= NAME_LIMIT:
        return text
    digest = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:16]
    return f"{text[: NAME_LIMIT - 17]}-{digest}"


def original_name(legal: str) -> str:
    """The name that ``legal_name`` was given without a prefix, unless it had to be cut."""
    return re.sub(r"_x([0-9a-f]*)_", lambda match: chr(int(match[1], 16)) if match[1] else "", legal)


def _escape(match: re.Match[str]) -> str:
    return f"_x{ord(match[0][0]):x}_"
