"""The Gaussian process against scikit-learn's, and its behaviour where scikit-learn has none."""

import numpy as np
import pytest
from scipy.optimize import approx_fprime
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern

from metatune.surrogate.gp import GaussianProcess, Hyperparameters


@pytest.fixture
def data() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.random((30, 4))
    y = np.sin(5 * X[:, 0]) + X[:, 1]
    return X, (y - y.mean()) / y.std()


def test_predicts_like_scikit_learn(data: tuple[np.ndarray, np.ndarray]) -> None:
    X, y = data
    h = Hyperparameters(np.array([0.3, 0.7, 1.5, 4.0]), 1.3, 1e-3)
    ours = GaussianProcess(X, y, hyperparameters=h)
    kernel = ConstantKernel(h.signal) * Matern(h.length, nu=2.5)
    theirs = GaussianProcessRegressor(kernel, alpha=h.noise + 1e-8, optimizer=None).fit(X, y)
    Z = np.random.default_rng(1).random((200, 4))
    mean, deviation = ours.predict(Z)
    expected_mean, expected_deviation = theirs.predict(Z, return_std=True)
    np.testing.assert_allclose(mean, expected_mean, atol=1e-9)
    np.testing.assert_allclose(deviation, expected_deviation, atol=1e-7)
    np.testing.assert_allclose(ours.mean(Z), mean)
    assert ours.log_marginal_likelihood() == pytest.approx(theirs.log_marginal_likelihood_value_)


# The lengthscales of the two irrelevant columns run to their bounds, as they should.
@pytest.mark.filterwarnings("ignore:The optimal value found:sklearn.exceptions.ConvergenceWarning")
def test_finds_hyperparameters_as_likely_as_scikit_learn(data: tuple[np.ndarray, np.ndarray]) -> None:
    X, y = data
    ours = GaussianProcess(X, y)
    kernel = ConstantKernel(1.0, (0.05, 20)) * Matern([1.0] * 4, (0.05, 20), nu=2.5)
    theirs = GaussianProcessRegressor(kernel, alpha=ours.hyperparameters.noise, n_restarts_optimizer=0).fit(X, y)
    # The prior on the hyperparameters costs a little likelihood.
    assert ours.log_marginal_likelihood() > theirs.log_marginal_likelihood_value_ - 6.0


def test_gradient_is_that_of_the_objective(data: tuple[np.ndarray, np.ndarray]) -> None:
    process = GaussianProcess(*data, owners=np.array([0, 0, 1, 2]))
    prior = np.array([[0.1, 1.0]] * 5)
    point = np.array([0.2, -0.3, 0.5, 0.1, -2.0])
    squares = process._grouped_squares()
    numeric = approx_fprime(point, lambda p: process._objective(p, squares, prior)[0], 1e-6)
    np.testing.assert_allclose(process._objective(point, squares, prior)[1], numeric, rtol=1e-3, atol=1e-3)


def test_columns_of_one_owner_share_a_lengthscale() -> None:
    X = np.eye(3)[np.arange(12) % 3]
    process = GaussianProcess(X, np.tile([1.0, 0.0, -1.0], 4), owners=np.zeros(3, dtype=int))
    assert process.hyperparameters.length.shape == (1,)
    assert process.mean(np.eye(3)) == pytest.approx([1.0, 0.0, -1.0], abs=0.2)


def test_repeated_rows_and_constant_targets_are_survived() -> None:
    process = GaussianProcess(np.zeros((5, 2)), np.zeros(5))
    mean, deviation = process.predict(np.ones((1, 2)))
    assert np.isfinite(mean).all()
    assert (deviation > 0).all()


def test_believing_keeps_the_mean_and_lowers_the_uncertainty(data: tuple[np.ndarray, np.ndarray]) -> None:
    process = GaussianProcess(*data)
    Z = np.full((1, 4), 0.95)
    believer = process.believing(Z)
    assert believer.predict(Z)[1] < 0.5 * process.predict(Z)[1]
    far = np.random.default_rng(2).random((20, 4))
    np.testing.assert_allclose(believer.mean(far), process.mean(far), atol=0.02)
