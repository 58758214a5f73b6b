"""``Registry``: versions of a knowledge folder in MLflow's model registry; the only file that knows the registry.

A version is a folder with ``MLmodel`` and the knowledge in ``knowledge/``, kept as artifacts of a run of its own. The
``MLmodel`` names ``metatune.serving`` as what loads it: the artifacts hold no code and nothing pickled.
"""

import os
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from metatune.errors import KnowledgeError, UsageError
from metatune.history.address import Address
from metatune.history.mlflow_database import connected
from metatune.history.schema import TAG_LIMIT, readable
from metatune.manifest import MANIFEST, safe_path, sha256
from metatune.redaction import redacted

#: What the environment calls the address of the registry, where it is not that of the history.
REGISTRY_VARIABLE = "MLFLOW_REGISTRY_URI"
#: The experiment whose runs own the artifacts of versions.
EXPERIMENT = "metatune-knowledge"
#: Tag of a version: SHA-256 of its manifest.
MANIFEST_TAG = "metatune.manifest"

_FOLDER = "model"
_KNOWLEDGE = "knowledge"
_SCHEME = "models:/"
_ABSENT = "RESOURCE_DOES_NOT_EXIST"


@dataclass(frozen=True)
class Reference:
    """``models:/<name>@<alias>`` or ``models:/<name>/<version>``."""

    name: str
    alias: str | None = None
    version: str | None = None

    @classmethod
    def parse(cls, text: str) -> "Reference":
        """Raises ``UsageError`` for anything else."""
        match = re.fullmatch(rf"{_SCHEME}([^/@:]+)(?:@([\w-]+)|/([0-9]+))", text)
        if match is None:
            raise UsageError(
                "not the address of a registered knowledge",
                field="knowledge",
                value=text,
                remedy="Use models:/<name>@<alias> or models:/<name>/<number>.",
            )
        return cls(match[1], match[2], match[3])


@dataclass(frozen=True)
class Version:
    """A registered version. ``manifest`` is the SHA-256 of its manifest, ``source`` where its artifacts are."""

    name: str
    number: str
    manifest: str
    source: str
    run_id: str
    tags: Mapping[str, str]

    @property
    def address(self) -> str:
        """How MLflow calls it."""
        return f"{_SCHEME}{self.name}/{self.number}"


class Registry:
    """The model registry of an MLflow server or database; reading makes no database. Methods raise ``StoreError``."""

    def __init__(self, uri: str | None = None) -> None:
        self._address = Address.of(uri or os.environ.get(REGISTRY_VARIABLE))
        self.uri = self._address.uri

    @property
    def exists(self) -> bool:
        """Whether there is a database to look into, as far as that can be told without asking a server."""
        return self._address.file is None or self._address.file.exists()

    def register(
        self, name: str, folder: Path, names: Sequence[str], *, tags: Mapping[str, str], requirement: str
    ) -> Version:
        """Upload the files ``names`` of ``folder`` and its manifest as a new version of the model ``name``.

        ``requirement`` is what pip must install to serve it.
        """
        with self._boundary(make=True) as client, tempfile.TemporaryDirectory() as scratch:
            model = Path(scratch) / _FOLDER
            _write_model(model, folder, [*names, MANIFEST], requirement)
            run_id, source = self._upload(client, name, model)
            if not _exists(client, name):
                _create_model(client, name)
            kept = {key: readable(redacted(value), TAG_LIMIT) for key, value in tags.items()}
            made = client.create_model_version(
                name, source, run_id, tags={**kept, MANIFEST_TAG: sha256(folder / MANIFEST)}
            )
        return _version(made)

    def find(self, reference: Reference) -> Version | None:
        """The version that ``reference`` names; ``None`` if there is none."""
        with self._boundary() as client:
            try:
                if reference.alias is not None:
                    return _version(client.get_model_version_by_alias(reference.name, reference.alias))
                return _version(client.get_model_version(reference.name, str(reference.version)))
            except MlflowException as error:
                # An alias that is not there is an invalid parameter to some stores, and a missing resource to others.
                if error.error_code == _ABSENT or "alias" in str(error):
                    return None
                raise

    def set_alias(self, version: Version, alias: str) -> None:
        """Let ``alias`` mean ``version`` from now on."""
        with self._boundary() as client:
            client.set_registered_model_alias(version.name, alias, version.number)

    def set_tags(self, version: Version, tags: Mapping[str, str]) -> None:
        """Add ``tags`` to ``version``."""
        with self._boundary() as client:
            for key, value in tags.items():
                client.set_model_version_tag(version.name, version.number, key, readable(redacted(value), TAG_LIMIT))

    def download(self, version: Version, names: Sequence[str], folder: Path) -> None:
        """Fetch the files ``names`` of the knowledge into ``folder``, which is there; nothing is written elsewhere.

        Each file is asked for by a name that was checked; what the server lists is not looked at. Raises
        ``KnowledgeError`` for a name that leaves the folder or a file that is not there.
        """
        targets = [safe_path(folder, name) for name in names]
        with self._boundary(), tempfile.TemporaryDirectory(dir=folder.parent, prefix=".") as scratch:
            source = f"{version.source}/{_KNOWLEDGE}"
            repository = get_artifact_repository(source, tracking_uri=self.uri, registry_uri=self.uri)
            for name, target in zip(names, targets, strict=True):
                got = Path(repository.download_artifacts(name, scratch))  # type: ignore[no-untyped-call]
                if not got.is_file() or got.is_symlink() or not got.resolve().is_relative_to(Path(scratch).resolve()):
                    raise KnowledgeError(
                        "the registry gave something else than the file",
                        field=version.address,
                        value=name,
                        remedy="Publish the knowledge again: metatune publish.",
                    )
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.move(got, target)

    def _upload(self, client: MlflowClient, name: str, model: Path) -> tuple[str, str]:
        """Id of the run that owns the files, and their address."""
        experiment = client.get_experiment_by_name(EXPERIMENT)
        number = (
            experiment.experiment_id
            if experiment is not None
            else client.create_experiment(EXPERIMENT, artifact_location=self._address.artifacts(EXPERIMENT))
        )
        run = client.create_run(number, run_name=readable(name, 250))
        client.log_artifacts(run.info.run_id, str(model), _FOLDER)
        client.set_terminated(run.info.run_id)
        return run.info.run_id, f"{run.info.artifact_uri}/{_FOLDER}"

    def _boundary(self, *, make: bool = False) -> AbstractContextManager[MlflowClient]:
        return connected(self._address, what="registry", make=make)


def _exists(client: MlflowClient, name: str) -> bool:
    try:
        client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code == _ABSENT:
            return False
        raise
    return True


def _create_model(client: MlflowClient, name: str) -> None:
    try:
        client.create_registered_model(name, description="What metatune learnt from earlier searches.")
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":  # another process may have made it since we looked
            raise


def _write_model(model: Path, knowledge: Path, names: Sequence[str], requirement: str) -> None:
    """The folder of a version: written by hand, since MLflow's own ``save_model`` also copies what lies around."""
    for name in names:
        target = model / _KNOWLEDGE / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(safe_path(knowledge, name), target, follow_symlinks=False)
    described = Model()
    described.add_flavor("python_function", loader_module="metatune.serving", data=_KNOWLEDGE)
    described.save(str(model / "MLmodel"))
    (model / "requirements.txt").write_text(f"{requirement}\n")


def _version(found: ModelVersion) -> Version:
    tags = dict(found.tags)
    manifest = str(tags.get(MANIFEST_TAG, ""))
    if not re.fullmatch(r"[0-9a-f]{64}", manifest):
        raise KnowledgeError(
            "this version was not published by metatune",
            field=f"tag {MANIFEST_TAG}",
            value=manifest,
            remedy="Publish a knowledge: metatune publish.",
        )
    return Version(found.name, str(found.version), manifest, str(found.source), str(found.run_id), tags)
