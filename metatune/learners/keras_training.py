"""Trains, saves and loads the networks of all Keras families; with it TensorFlow is loaded."""

import json
import math
import warnings
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from metatune.dataset import Data, DataKind
from metatune.errors import SearchError
from metatune.learners.base import FittedModel, Report
from metatune.learners.keras_augmentation import augmented
from metatune.learners.keras_family import Encoder, Recipe
from metatune.learners.keras_host import keras, native_stderr_closed, set_threads, tf
from metatune.learners.keras_networks import build_network
from metatune.learners.keras_preprocessing import Outputs
from metatune.learners.saving import write_manifest
from metatune.learners.scoring import metric_value
from metatune.metric import Metric
from metatune.trial import Configuration

#: ``schedule="exponential"`` ends at this share of the learning rate.
FINAL_RATE = 0.01


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
        self.curve = curve
        self.best_step = best_step

    def predict(self, X: Any) -> np.ndarray:
        """See ``FittedModel.predict``."""
        return self.outputs.answers(self._outputs(X))[0]

    def predict_proba(self, X: Any) -> np.ndarray:
        """See ``FittedModel.predict_proba``."""
        return self._outputs(X)

    def _outputs(self, X: Any) -> np.ndarray:
        raw = [
            np.asarray(self.network(tf.constant(rows), training=False))
            for rows in _chunks(self.encoder.encode(X), self.recipe.chunk)
        ]
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
        with native_stderr_closed():
            network = keras.models.load_model(directory / "model.keras", compile=False, safe_mode=True)
        return cls(
            recipe,
            network,
            recipe.read_encoder(state["encoder"]),
            Outputs(**state["outputs"]),
            curve=tuple(math.nan if value is None else value for value in state["curve"]),
            best_step=state["best_step"],
        )


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


def rate_factor(schedule: str, done: float) -> float:
    """Share of the learning rate that is left when the share ``done`` of all epochs is."""
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

    def __init__(
        self,
        recipe: Recipe,
        c: Mapping[str, Any],
        network: keras.Model,
        outputs: Outputs,
        *,
        x: np.ndarray,
        y: np.ndarray,
        seed: int,
    ) -> None:
        self.network = network
        self._recipe = recipe
        self._logits = keras.Model(network.input, network.layers[-1].input)
        self._outputs = outputs
        self._optimizer = build_optimizer(c)
        self._optimizer.build(network.trainable_variables)
        self._rate, self._schedule = float(c["learning_rate"]), str(c["schedule"])
        self._decay, self._decoupled = float(c["weight_decay"]), c["optimizer"] == "adamw"
        self._augmentation, self._seed = str(c.get("augmentation", "none")), seed
        self._batch = min(int(c["batch_size"]), len(x))
        self._x, self._y = tf.constant(x), tf.constant(y)
        self._rng = np.random.default_rng(seed)
        # Traced once, here: TensorFlow warns of functions that are made again and again by calling them.
        orders = tf.TensorSpec((None, self._batch), tf.int32)
        rows = tf.TensorSpec((None, *x.shape[1:]), x.dtype)
        self._train = tf.function(self._steps, autograph=False).get_concrete_function(orders)
        self._forward = tf.function(self._predictions, autograph=False).get_concrete_function(rows)
        self._done = 0

    def epoch(self) -> None:
        """Train on every row once, in batches of a new order. Raises ``SearchError`` if the loss is not finite."""
        rate = self._rate * rate_factor(self._schedule, self._done / self._recipe.epochs)
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
        raw = [self._forward(tf.constant(rows)).numpy() for rows in _chunks(x, self._recipe.chunk)]
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
        kernels = [v for v in variables if v.name.endswith("kernel")]
        with tf.GradientTape() as tape:
            logits = self._logits(self._examples(rows), training=True)
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
            self._optimizer.update_step(tf.convert_to_tensor(gradient), variable, rate)
        self._optimizer.iterations.assign_add(1)
        return loss

    def _examples(self, rows: tf.Tensor) -> tf.Tensor:
        seed = tf.stack([self._seed, tf.cast(self._optimizer.iterations.value, tf.int32)])
        return augmented(tf.gather(self._x, rows), self._augmentation, seed)

    def _predictions(self, rows: tf.Tensor) -> tf.Tensor:
        return self.network(rows, training=False)


def _chunks(x: np.ndarray, size: int) -> list[np.ndarray]:
    return [x[start : start + size] for start in range(0, len(x), size)] or [x]


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
    keras.backend.clear_session()
    encoder, outputs, seed = recipe.encoder(c, train), Outputs.of(train), seed % 2**28
    x = encoder.encode(train.X)
    network = build_network(recipe.family, c, x, encoder=encoder, outputs=outputs, seed=seed)
    trainer = Trainer(recipe, c, network, outputs, x=x, y=outputs.encode(train.y), seed=seed)
    epochs = recipe.epochs if steps is None else steps
    if valid is None:
        for _ in range(epochs):
            trainer.epoch()
        return NetworkModel(recipe, network, encoder, outputs)
    judged = encoder.encode(valid.X)
    curve: list[float] = []
    best_step, best_score, best_weights = 1, -math.inf, network.get_weights()
    for step in range(1, epochs + 1):
        trainer.epoch()
        value = metric_value(valid, metric, *trainer.answers(judged))
        curve.append(value)
        if report is not None and math.isfinite(value):
            report(step, value)
        score = metric.score(value) if math.isfinite(value) else -math.inf
        # While the metric is not defined, the latest epoch counts as the best.
        if score > best_score or best_score == -math.inf:
            best_step, best_score, best_weights = step, score, network.get_weights()
        elif step - best_step >= recipe.patience:
            break
    network.set_weights(best_weights)
    return NetworkModel(recipe, network, encoder, outputs, curve=tuple(curve), best_step=best_step)
