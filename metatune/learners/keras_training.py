"""Trains, saves and loads the networks of all Keras families; with it TensorFlow is loaded."""

import json
import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from metatune.dataset import Data
from metatune.learners.base import FittedModel, Report
from metatune.learners.keras_family import Encoder, Recipe
from metatune.learners.keras_host import alone, keras, native_stderr_closed, set_threads, tf
from metatune.learners.keras_networks import build_network
from metatune.learners.keras_preprocessing import Outputs
from metatune.learners.keras_trainer import Fit, borrowed_trainer, chunks
from metatune.learners.saving import write_manifest
from metatune.learners.scoring import step_value
from metatune.learners.target_scale import standardised
from metatune.metric import Metric
from metatune.trial import Configuration


class NetworkModel(FittedModel[Any]):
    """A trained network with its encoder."""

    def __init__(
        self,
        recipe: Recipe,
        network: keras.Model,
        encoder: Encoder,
        outputs: Outputs,
        *,
        curve: tuple[float, ...] = (),
        best_step: int | None = None,
    ) -> None:
        self.recipe = recipe
        self.network = network
        self.encoder = encoder
        self.outputs = outputs
        self.n_classes = outputs.n_classes
        self.curve = curve
        self.best_step = best_step

    def predict(self, X: Any) -> np.ndarray:
        """See ``FittedModel.predict``."""
        return self.outputs.answers(self._outputs(X))[0]

    def predict_proba(self, X: Any) -> np.ndarray:
        """See ``FittedModel.predict_proba``."""
        return self._outputs(X)

    def _outputs(self, X: Any) -> np.ndarray:
        encoded = chunks(self.encoder.encode(X), self.recipe.chunk)
        with alone:
            raw = [np.asarray(self.network(tf.constant(rows), training=False)) for rows in encoded]
        return self.outputs.decode(np.concatenate(raw))

    def save(self, directory: Path) -> Path:
        """Write ``model.keras``, ``preprocessing.json`` and the manifest; see ``FittedModel.save``."""
        path = directory / "model.keras"
        with alone, warnings.catch_warnings():
            # TensorFlow's variables and NumPy 2; nothing that a user of metatune could change.
            warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)
            self.network.save(path)
        state = {
            "outputs": self.outputs.to_dict(),
            "encoder": self.encoder.to_dict(),
            "curve": [value if math.isfinite(value) else None for value in self.curve],
            "best_step": self.best_step,
        }
        (directory / "preprocessing.json").write_text(json.dumps(state, allow_nan=False), encoding="utf-8")
        write_manifest(directory, family=self.recipe.family, files=["model.keras", "preprocessing.json"])
        return path

    @classmethod
    def load(cls, recipe: Recipe, directory: Path) -> "NetworkModel":
        """What ``save`` wrote; the network in safe mode, so no code from the file is run."""
        state = json.loads((directory / "preprocessing.json").read_text(encoding="utf-8"))
        with alone, native_stderr_closed():
            network = keras.models.load_model(directory / "model.keras", compile=False, safe_mode=True)
        return cls(
            recipe,
            network,
            recipe.read_encoder(state["encoder"]),
            Outputs.from_dict(state["outputs"]),
            curve=tuple(math.nan if value is None else value for value in state["curve"]),
            best_step=state["best_step"],
        )


def train_network(
    recipe: Recipe,
    c: Configuration,
    train: Data[Any],
    *,
    valid: Data[Any] | None,
    metric: Metric,
    seed: int,
    steps: int | None,
    report: Report | None,
    threads: int,
) -> NetworkModel:
    """The body of ``ModelFamily.fit`` in the Keras families."""
    set_threads(threads)
    train, scale = standardised(train)
    encoder, outputs, seed = recipe.encoder(c, train), Outputs(train.kind, train.n_classes, scale), seed % 2**28
    x, y = encoder.encode(train.X), outputs.encode(train.y)
    with alone:
        # Not free_memory: collecting all garbage takes a quarter of a second, each time, once TensorFlow is loaded.
        keras.backend.clear_session(free_memory=False)
        network = build_network(recipe.family, c, x, encoder=encoder, outputs=outputs, seed=seed)
    epochs = recipe.epochs if steps is None else steps
    with borrowed_trainer(Fit(recipe, c, network, outputs, x, y, seed)) as trainer:
        if valid is None:
            for _ in range(epochs):
                trainer.epoch()
            network.set_weights(trainer.network.get_weights())
            return NetworkModel(recipe, network, encoder, outputs)
        judged = encoder.encode(valid.X)
        curve: list[float] = []
        best_step, best_score, best_weights = 1, -math.inf, trainer.network.get_weights()
        for step in range(1, epochs + 1):
            trainer.epoch()
            value = step_value(valid, metric, *trainer.answers(judged))
            curve.append(value)
            if report is not None and math.isfinite(value):
                report(step, value)
            score = metric.score(value) if math.isfinite(value) else -math.inf
            # While the metric is not defined, the latest epoch counts as the best.
            if score > best_score or best_score == -math.inf:
                best_step, best_score, best_weights = step, score, trainer.network.get_weights()
            elif step - best_step >= recipe.patience:
                break
    network.set_weights(best_weights)
    return NetworkModel(recipe, network, encoder, outputs, curve=tuple(curve), best_step=best_step)
