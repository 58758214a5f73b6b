"""Builds, trains, saves and loads the networks of ``KerasMLP``; with it TensorFlow is loaded."""

import json
import math
import os
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from metatune.dataset import DataKind, Dataset
from metatune.errors import SearchError
from metatune.learners.base import FittedModel, Report
from metatune.learners.keras_mlp import MAX_EPOCHS, KerasMLP
from metatune.learners.keras_preprocessing import DensePreprocessor, Outputs
from metatune.learners.saving import write_manifest
from metatune.learners.scoring import metric_value
from metatune.metric import Metric
from metatune.trial import Configuration


@contextmanager
def _native_stderr_closed() -> Iterator[None]:
    # TensorFlow's native libraries write to file descriptor 2 while they load, before any log level applies.
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
with _native_stderr_closed():
    import keras
    import tensorflow as tf

#: Training ends after so many epochs without a better validation value.
PATIENCE = 10
#: ``schedule="exponential"`` ends at this share of the learning rate.
FINAL_RATE = 0.01
#: Rows that are predicted at once.
CHUNK = 8192


class NetworkModel(FittedModel[pd.DataFrame]):
    """A trained network with its preprocessing."""

    def __init__(
        self,
        network: keras.Model,
        preprocessor: DensePreprocessor,
        outputs: Outputs,
        *,
        curve: tuple[float, ...] = (),
        best_step: int | None = None,
    ) -> None:
        self.network = network
        self.preprocessor = preprocessor
        self.outputs = outputs
        self.curve = curve
        self.best_step = best_step

    def predict(self, X: pd.DataFrame) -> np.ndarray:
        """See ``FittedModel.predict``."""
        return self.outputs.answers(self._outputs(X))[0]

    def predict_proba(self, X: pd.DataFrame) -> np.ndarray:
        """See ``FittedModel.predict_proba``."""
        return self._outputs(X)

    def _outputs(self, X: pd.DataFrame) -> np.ndarray:
        matrix = self.preprocessor.encode(X)
        chunks = [matrix[start : start + CHUNK] for start in range(0, len(matrix), CHUNK)] or [matrix]
        raw = [np.asarray(self.network(tf.constant(chunk), training=False)) for chunk in chunks]
        return self.outputs.decode(np.concatenate(raw))

    def save(self, directory: Path) -> Path:
        """Write ``model.keras``, ``preprocessing.json`` and the manifest; see ``FittedModel.save``."""
        path = directory / "model.keras"
        with warnings.catch_warnings():
            # TensorFlow's variables and NumPy 2; nothing that a user of metatune could change.
            warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)
            self.network.save(path)
        state = {
            "outputs": asdict(self.outputs),
            "columns": self.preprocessor.to_dict(),
            "curve": [value if math.isfinite(value) else None for value in self.curve],
            "best_step": self.best_step,
        }
        (directory / "preprocessing.json").write_text(json.dumps(state, allow_nan=False), encoding="utf-8")
        write_manifest(directory, family=KerasMLP.name, files=["model.keras", "preprocessing.json"])
        return path

    @classmethod
    def load(cls, directory: Path) -> "NetworkModel":
        """What ``save`` wrote; the network in safe mode, so no code from the file is run."""
        state = json.loads((directory / "preprocessing.json").read_text(encoding="utf-8"))
        with _native_stderr_closed():
            network = keras.models.load_model(directory / "model.keras", compile=False, safe_mode=True)
        return cls(
            network,
            DensePreprocessor.from_dict(state["columns"]),
            Outputs(**state["outputs"]),
            curve=tuple(math.nan if value is None else value for value in state["curve"]),
            best_step=state["best_step"],
        )


def build_network(c: Mapping[str, Any], n_inputs: int, outputs: Outputs, seed: int) -> keras.Model:
    """The untrained network of configuration ``c``; its last two layers are the logits and their activation."""
    layers = keras.layers
    inputs = keras.Input((n_inputs,), dtype="float32")
    hidden = inputs
    units = int(c["units"])
    for depth in range(int(c["n_layers"])):
        hidden = layers.Dense(units, kernel_initializer=_initializer(seed, depth))(hidden)
        if c["batch_norm"]:
            # Keras' 0.99 needs hundreds of steps to forget its start; small data have a dozen an epoch.
            hidden = layers.BatchNormalization(momentum=0.9)(hidden)
        hidden = layers.Activation(c["activation"])(hidden)
        if c["dropout"]:
            hidden = layers.Dropout(c["dropout"], seed=seed + depth)(hidden)
        if c["shape"] == "funnel":
            units = max(units // 2, 8)
    logits = layers.Dense(outputs.width, kernel_initializer=_initializer(seed, -1))(hidden)
    return keras.Model(inputs, layers.Activation(outputs.activation)(logits))


def _initializer(seed: int, depth: int) -> keras.initializers.Initializer:
    # An own seed for each layer: one seed for all would start equal shapes with equal weights.
    return keras.initializers.GlorotUniform(seed=seed * 7 + depth + 1)


def build_optimizer(c: Mapping[str, Any]) -> keras.optimizers.Optimizer:
    """The optimiser of configuration ``c``, without weight decay: ``Trainer`` does that."""
    rate = float(c["learning_rate"])
    match c["optimizer"]:
        case "sgd_momentum":
            return keras.optimizers.SGD(rate, momentum=c["momentum"])
        case "rmsprop":
            return keras.optimizers.RMSprop(rate)
        case "adagrad":
            return keras.optimizers.Adagrad(rate)
        case _:
            return keras.optimizers.Adam(rate)


def rate_factor(schedule: str, epoch: int) -> float:
    """Share of the learning rate in ``epoch`` (0-based) of ``MAX_EPOCHS``, however many are run."""
    done = epoch / MAX_EPOCHS
    if schedule == "cosine":
        return (1 + math.cos(math.pi * done)) / 2
    return FINAL_RATE**done if schedule == "exponential" else 1.0


def mean_loss(kind: DataKind, y: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Of one batch: cross-entropy, or half the squared error; ``logits`` of shape (n, outputs)."""
    if kind == "multiclass":
        return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=logits))
    if kind == "binary":
        return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels=y, logits=logits[:, 0]))
    return tf.reduce_mean(tf.square(y - logits[:, 0])) / 2


class Trainer:
    """One network in training: ``epoch`` trains it once over the data.

    A whole epoch is one call into TensorFlow: on small networks ``keras.Model.fit`` spends several times longer on
    its own work between the steps than in them.
    """

    def __init__(self, c: Mapping[str, Any], x: np.ndarray, y: np.ndarray, outputs: Outputs, seed: int) -> None:
        self.network = build_network(c, x.shape[1], outputs, seed)
        self._logits = keras.Model(self.network.input, self.network.layers[-1].input)
        self._outputs = outputs
        self._optimizer = build_optimizer(c)
        self._optimizer.build(self.network.trainable_variables)
        self._rate, self._schedule = float(c["learning_rate"]), str(c["schedule"])
        self._decay, self._decoupled = float(c["weight_decay"]), c["optimizer"] == "adamw"
        self._batch = min(int(c["batch_size"]), len(x))
        self._x, self._y = tf.constant(x), tf.constant(y)
        self._rng = np.random.default_rng(seed)
        # Traced once, here: TensorFlow warns of functions that are made again and again by calling them.
        orders = tf.TensorSpec((None, self._batch), tf.int32)
        rows = tf.TensorSpec((None, x.shape[1]), tf.float32)
        self._train = tf.function(self._steps, autograph=False).get_concrete_function(orders)
        self._forward = tf.function(self._predictions, autograph=False).get_concrete_function(rows)
        self._done = 0

    def epoch(self) -> None:
        """Train on every row once, in batches of a new order. Raises ``SearchError`` if the loss is not finite."""
        rate = self._rate * rate_factor(self._schedule, self._done)
        self._optimizer.learning_rate.assign(rate)
        self._done += 1
        rows = self._rng.permutation(len(self._x))
        n_batches = -(-len(rows) // self._batch)
        # The last batch is filled from the start of the order: all batches have one shape.
        order = np.resize(rows, (n_batches, self._batch)).astype(np.int32)
        loss = float(self._train(tf.constant(order)))
        if not math.isfinite(loss):
            raise self._diverged(loss)

    def answers(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Predictions, and probabilities for classification, for the encoded rows ``x``.

        Raises ``SearchError`` if one is not finite.
        """
        raw = [self._forward(tf.constant(x[i : i + CHUNK])).numpy() for i in range(0, len(x), CHUNK)]
        values = self._outputs.decode(np.concatenate(raw))
        if not np.isfinite(values).all():
            raise self._diverged(math.nan)
        return self._outputs.answers(values)

    def _diverged(self, loss: float) -> SearchError:
        return SearchError(
            f"the training diverged in epoch {self._done}",
            field="loss",
            value=loss,
            remedy="Use a lower learning_rate.",
        )

    def _steps(self, order: tf.Tensor) -> tf.Tensor:
        def body(i: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return i + 1, total + self._step(order[i])

        count = tf.shape(order)[0]
        total = tf.while_loop(lambda i, _: i < count, body, (0, 0.0), parallel_iterations=1)[1]
        # The last update may have spoilt the weights after its loss was measured.
        weights = tf.add_n([tf.reduce_sum(v.value) for v in self.network.trainable_variables])
        return tf.where(tf.math.is_finite(weights), total / tf.cast(count, tf.float32), weights)

    def _step(self, rows: tf.Tensor) -> tf.Tensor:
        variables = self.network.trainable_variables
        kernels = [v for v in variables if v.name == "kernel"]
        with tf.GradientTape() as tape:
            logits = self._logits(tf.gather(self._x, rows), training=True)
            loss = mean_loss(self._outputs.kind, tf.gather(self._y, rows), logits)
            if not self._decoupled:
                loss += self._decay * tf.add_n([tf.nn.l2_loss(v.value) for v in kernels])
        rate = self._optimizer.learning_rate
        gradients = tape.gradient(loss, variables)
        if self._decoupled:
            for kernel in kernels:
                kernel.assign_sub(kernel * (rate * self._decay))
        # Not optimizer.apply: by way of tf.distribute it keeps every traced graph alive, megabytes for each network.
        for gradient, variable in zip(gradients, variables, strict=True):
            self._optimizer.update_step(gradient, variable, rate)
        self._optimizer.iterations.assign_add(1)
        return loss

    def _predictions(self, rows: tf.Tensor) -> tf.Tensor:
        return self.network(rows, training=False)


def train_network(
    c: Configuration,
    train: Dataset,
    *,
    valid: Dataset | None,
    metric: Metric,
    seed: int,
    steps: int | None,
    report: Report | None,
    threads: int,
) -> NetworkModel:
    """The body of ``KerasMLP.fit``."""
    # TensorFlow accepts a number of threads only before its first operation.
    with suppress(RuntimeError):
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    keras.backend.clear_session()
    preprocessor, outputs = DensePreprocessor.of(train), Outputs.of(train)
    trainer = Trainer(c, preprocessor.encode(train.X), outputs.encode(train.y), outputs, seed % 2**28)
    if valid is None:
        for _ in range(MAX_EPOCHS if steps is None else steps):
            trainer.epoch()
        return NetworkModel(trainer.network, preprocessor, outputs)
    matrix = preprocessor.encode(valid.X)
    curve: list[float] = []
    best_step, best_score, best_weights = 1, -math.inf, trainer.network.get_weights()
    for step in range(1, (MAX_EPOCHS if steps is None else steps) + 1):
        trainer.epoch()
        value = metric_value(valid, metric, *trainer.answers(matrix))
        curve.append(value)
        if report is not None and math.isfinite(value):
            report(step, value)
        score = metric.score(value) if math.isfinite(value) else -math.inf
        # While the metric is not defined, the latest epoch counts as the best.
        if score > best_score or best_score == -math.inf:
            best_step, best_score, best_weights = step, score, trainer.network.get_weights()
        elif step - best_step >= PATIENCE:
            break
    trainer.network.set_weights(best_weights)
    return NetworkModel(trainer.network, preprocessor, outputs, curve=tuple(curve), best_step=best_step)
