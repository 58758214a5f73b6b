"""Trains one network: ``Trainer``. The graph that it traced is taken again for the next fold."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from metatune.dataset import DataKind
from metatune.errors import SearchError
from metatune.learners.keras_augmentation import augmented
from metatune.learners.keras_family import Recipe
from metatune.learners.keras_host import alone, keras, tf
from metatune.learners.keras_preprocessing import Outputs

#: ``schedule="exponential"`` ends at this share of the learning rate.
FINAL_RATE = 0.01


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


@dataclass(frozen=True, eq=False)
class Fit:
    """What is to be trained: ``network`` on encoded rows ``x`` with targets ``y``, as configuration ``c`` says."""

    recipe: Recipe
    c: Mapping[str, Any]
    network: keras.Model
    outputs: Outputs
    x: np.ndarray
    y: np.ndarray
    seed: int

    @property
    def batch(self) -> int:
        """Rows in a batch."""
        return min(int(self.c["batch_size"]), len(self.x))

    @cached_property
    def graph(self) -> tuple[Any, ...]:
        """All that the graph of its training depends on; the network with the seeds of its weights."""
        recipe = self.recipe
        return recipe.family, recipe.epochs, dict(self.c), self.network.to_json(), self.batch, self.seed


class Trainer:
    """A copy of a fit's network in training: ``start`` gives it rows, ``epoch`` trains it once over them.

    A whole epoch is one call into TensorFlow: on small networks ``keras.Model.fit`` spends several times longer on
    its own work between the steps than in them. The graph does not hold the rows, so that a trainer can be started
    again on those of the next fold: on small data tracing takes longer than training.
    """

    def __init__(self, fit: Fit) -> None:
        self.network = keras.models.clone_model(fit.network)
        self._graph, self._recipe, c = fit.graph, fit.recipe, fit.c
        self._logits = keras.Model(self.network.input, self.network.layers[-1].input)
        self._optimizer = build_optimizer(c)
        self._optimizer.build(self.network.trainable_variables)
        self._rate, self._schedule = float(c["learning_rate"]), str(c["schedule"])
        self._decay, self._decoupled = float(c["weight_decay"]), c["optimizer"] == "adamw"
        self._augmentation, self._seed, self._batch = str(c.get("augmentation", "none")), fit.seed, fit.batch
        self._fresh = [variable.numpy() for variable in self._variables()]
        self.start(fit)
        # Traced once, here: TensorFlow warns of functions that are made again and again by calling them.
        orders = tf.TensorSpec((None, self._batch), tf.int32)
        rows, targets = tf.TensorSpec((None, *fit.x.shape[1:]), fit.x.dtype), tf.TensorSpec((None,), fit.y.dtype)
        self._train = tf.function(self._steps, autograph=False).get_concrete_function(orders, rows, targets)
        self._forward = tf.function(self._predictions, autograph=False).get_concrete_function(rows)

    def start(self, fit: Fit) -> None:
        """Begin anew on the rows of ``fit``, as if nothing had been trained."""
        for variable, value in zip(self._variables(), self._fresh, strict=True):
            variable.assign(value)
        self._outputs = fit.outputs
        self._x, self._y = tf.constant(fit.x), tf.constant(fit.y)
        self._rng = np.random.default_rng(self._seed)
        self._done = 0

    def does(self, fit: Fit) -> bool:
        """Whether this trainer, started on ``fit``, does what a new one would do."""
        return self._graph == fit.graph

    def release(self) -> None:
        """Let go of the rows."""
        self._x = self._y = None

    def _variables(self) -> list[keras.Variable]:
        return [*self.network.variables, *self._optimizer.variables]

    def epoch(self) -> None:
        """Train on every row once, in batches of a new order. Raises ``SearchError`` if the loss is not finite."""
        rate = self._rate * rate_factor(self._schedule, self._done / self._recipe.epochs)
        self._optimizer.learning_rate.assign(rate)
        self._done += 1
        rows = self._rng.permutation(len(self._x))
        n_batches = -(-len(rows) // self._batch)
        # The last batch is filled from the start of the order: all batches have one shape.
        order = np.resize(rows, (n_batches, self._batch)).astype(np.int32)
        loss = float(self._train(tf.constant(order), self._x, self._y))
        if not math.isfinite(loss):
            raise self._diverged(loss)

    def answers(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Predictions, and probabilities for classification, for the encoded rows ``x``.

        Raises ``SearchError`` if one is not finite.
        """
        raw = [self._forward(tf.constant(rows)).numpy() for rows in chunks(x, self._recipe.chunk)]
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

    def _steps(self, order: tf.Tensor, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        def body(i: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return i + 1, total + self._step(tf.gather(x, order[i]), tf.gather(y, order[i]))

        count = tf.shape(order)[0]
        total = tf.while_loop(lambda i, _: i < count, body, (0, 0.0), parallel_iterations=1)[1]
        # The last update may have spoilt the weights after its loss was measured.
        weights = tf.add_n([tf.reduce_sum(v.value) for v in self.network.trainable_variables])
        return tf.where(tf.math.is_finite(weights), total / tf.cast(count, tf.float32), weights)

    def _step(self, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        variables = self.network.trainable_variables
        kernels = [v for v in variables if v.name.endswith("kernel")]
        with tf.GradientTape() as tape:
            logits = self._logits(self._changed(x), training=True)
            loss = mean_loss(self._outputs.kind, y, logits)
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

    def _changed(self, x: tf.Tensor) -> tf.Tensor:
        seed = tf.stack([self._seed, tf.cast(self._optimizer.iterations.value, tf.int32)])
        return augmented(x, self._augmentation, seed)

    def _predictions(self, rows: tf.Tensor) -> tf.Tensor:
        return self.network(rows, training=False)


#: The trainer of the last fit, for the next; not here while it works, so that no two threads share one.
_idle: list[Trainer] = []


def let_go() -> Trainer | None:
    """Take out the trainer of the last fit, if there is one; the next fit traces anew."""
    try:
        return _idle.pop()
    except IndexError:
        return None


@contextmanager
def borrowed_trainer(fit: Fit) -> Iterator[Trainer]:
    """A trainer for ``fit``: that of the last one, where it does the same, or a new one."""
    with alone:
        trainer = let_go()
        if trainer is not None and trainer.does(fit):
            trainer.start(fit)
        else:
            # Before the next is traced: two graphs at once would be twice the memory.
            trainer = None
            trainer = Trainer(fit)
    yield trainer
    trainer.release()
    _idle[:] = [trainer]


def chunks(x: np.ndarray, size: int) -> list[np.ndarray]:
    """``x`` in pieces of at most ``size`` rows; one, without rows, where ``x`` has none."""
    return [x[start : start + size] for start in range(0, len(x), size)] or [x]
