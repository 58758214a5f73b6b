"""A stranger's training, logged to MLflow by the libraries themselves; run as a script, since autologging patches them.

``python stranger.py URI FOLDER PART...`` fills one experiment per part.
"""

import sys

import mlflow
import numpy as np
from sklearn.datasets import load_breast_cancer, load_iris


def grid():
    from sklearn.model_selection import GridSearchCV
    from sklearn.tree import DecisionTreeClassifier

    mlflow.sklearn.autolog(log_models=False)
    grid = {"max_depth": [1, 2, 3, None], "min_samples_leaf": [1, 5, 20]}
    GridSearchCV(DecisionTreeClassifier(random_state=0), grid, cv=3).fit(*load_iris(return_X_y=True))


def random():
    from scipy.stats import loguniform
    from sklearn.model_selection import RandomizedSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    mlflow.sklearn.autolog(log_models=False)
    space = {"svc__C": loguniform(1e-2, 1e2), "svc__kernel": ["rbf", "linear"]}
    search = RandomizedSearchCV(
        make_pipeline(StandardScaler(), SVC(probability=False)),
        space,
        n_iter=7,
        cv=3,
        scoring="balanced_accuracy",
        random_state=0,
    )
    search.fit(*load_iris(return_X_y=True))


def losses():
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import GridSearchCV

    mlflow.sklearn.autolog(log_models=False)
    rows = np.random.default_rng(0).normal(size=(40, 3))
    GridSearchCV(Ridge(), {"alpha": [0.1, 1.0]}, cv=2, scoring="neg_mean_squared_error").fit(rows, rows[:, 0] + 1)


def plain():
    from sklearn.linear_model import LogisticRegression

    mlflow.sklearn.autolog(log_models=False)
    X, y = load_iris(return_X_y=True)
    with mlflow.start_run():
        LogisticRegression(C=0.5, max_iter=500).fit(X, y).score(X, y)


def boosting():
    import lightgbm

    mlflow.lightgbm.autolog(log_models=False)
    X, y = load_breast_cancer(return_X_y=True)
    params = {"objective": "binary", "num_leaves": 7, "verbose": -1, "num_threads": 1}
    for rate in (0.05, 0.3):
        train = lightgbm.Dataset(X[:400], y[:400])
        lightgbm.train(
            params | {"learning_rate": rate, "metric": ["binary_logloss", "auc"]},
            train,
            num_boost_round=60,
            valid_sets=[train, lightgbm.Dataset(X[400:], y[400:], reference=train)],
            valid_names=["train", "valid"],
            callbacks=[lightgbm.early_stopping(5, verbose=False)],
        )
        mlflow.end_run()


def network():
    import keras

    mlflow.tensorflow.autolog(log_models=False, log_datasets=False)
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 4)), rng.integers(0, 2, 60)
    for epochs, stop in ((10, True), (2, False)):
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(32, "relu"), keras.layers.Dense(1)])
        loss = keras.losses.BinaryCrossentropy(from_logits=True)
        model.compile(keras.optimizers.Adam(0.05 if stop else 0.001), loss, metrics=["accuracy"])
        stopping = keras.callbacks.EarlyStopping(patience=2, restore_best_weights=True)
        split = {"validation_data": (X[40:], y[40:]), "callbacks": [stopping] if stop else []}
        model.fit(X[:40], y[:40], epochs=epochs, verbose=0, **split)
        mlflow.end_run()


def by_hand():
    with mlflow.start_run(run_name="sweep"):
        for i in range(4):
            with mlflow.start_run(nested=True):
                mlflow.log_params({"lr": 10.0**-i, "depth": i + 1, "booster": ["gbtree", "dart"][i % 2], "seed": i})
                mlflow.log_metrics({"val_auc": 0.7 + 0.05 * i, "train_auc": 1.0, "fit_time": 3.0})
                mlflow.set_tag("dataset", "churn")
        try:
            with mlflow.start_run(nested=True):
                mlflow.log_params({"lr": 99.0, "depth": 9, "booster": "dart"})
                mlflow.set_tag("dataset", "churn")
                raise ValueError("diverged")
        except ValueError:
            pass


if __name__ == "__main__":
    uri, folder, *parts = sys.argv[1:]
    mlflow.set_tracking_uri(uri)
    for part in parts:
        mlflow.create_experiment(part, artifact_location=f"file://{folder}/{part}")
        mlflow.set_experiment(part)
        globals()[part]()
        mlflow.autolog(disable=True)
