"""Small image tasks: digits, and generated pictures."""

import numpy as np
from learner_contract import ContractTasks
from sklearn.datasets import load_digits

from metatune.task import Task


def digits(*classes: int) -> Task:
    """The digits of scikit-learn, 8 by 8 with 17 shades; all of them, or ``classes`` alone."""
    X, y = load_digits(return_X_y=True)
    kept = np.isin(y, classes or range(10))
    return Task.from_images(X[kept].reshape(-1, 8, 8), y[kept], name="digits", validation="holdout")


def squares(n: int = 400, *, height: int = 9, width: int = 12, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Noisy colour pictures with a bright square of 3 pixels, and how far to the right it is."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 60, (n, height, width, 3))
    rows, columns = rng.integers(0, height - 2, n), rng.integers(0, width - 2, n)
    for image, row, column in zip(images, rows, columns, strict=True):
        image[row : row + 3, column : column + 3] += 190
    return images.astype(np.uint8), columns


def places() -> Task:
    """Where the square is."""
    X, columns = squares()
    return Task.from_images(X, columns * 1000.0, kind="regression", name="places", validation="holdout")


def sides() -> Task:
    """In which half the square is; a few pictures show nothing, or only white."""
    X, columns = squares(300, seed=1)
    X[5:8], X[8:10] = 0, 255
    return Task.from_images(X, np.where(columns > 4, "right", "left"), name="sides", validation="holdout")


def strange_images() -> np.ndarray:
    """Black, white, and all noise."""
    noise = np.random.default_rng(0).integers(0, 256, (9, 12, 3))
    return np.stack([np.zeros_like(noise), np.full_like(noise, 255), noise]).astype(np.uint8)


#: Constant predictions reach 0.5, 0.1 and about 2,900.
IMAGES = ContractTasks(
    {
        "binary": (lambda: digits(3, 8), 0.95),
        "multiclass": (digits, 0.9),
        "regression": (places, 2000.0),
    },
    sides,
    strange_images,
    n_columns=28 * 28,
)
