"""Meta-features against pymfe (Alcobaça et al., 2020), for those both have, where the definitions agree."""

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer, load_iris, load_wine
from sklearn.preprocessing import StandardScaler

from metatune.dataset import Dataset
from metatune.metafeatures import describe_dataset

with warnings.catch_warnings():
    # pymfe imports modules of scikit-learn, scipy and igraph that announce their removal.
    warnings.simplefilter("ignore", DeprecationWarning)
    warnings.simplefilter("ignore", FutureWarning)
    from pymfe.mfe import MFE


def numeric(load):
    bunch = load(as_frame=True)
    y = bunch.target.to_numpy(np.int64)
    kind = "binary" if len(np.unique(y)) == 2 else "multiclass"
    return Dataset(bunch.data.astype(float), y, kind, tuple(bunch.target_names))


def mixed():
    rng = np.random.default_rng(5)
    y = rng.choice(4, 700, p=[0.5, 0.3, 0.15, 0.05])
    X = pd.DataFrame(
        {
            "log-normal": rng.lognormal(y / 3.0, 1.0),
            "colour": pd.Categorical(np.array(list("rgbyk"))[(y + rng.integers(0, 3, 700)) % 5]),
            "count": rng.poisson(20, 700).astype(float),
            "noise": pd.Categorical(rng.integers(0, 12, 700).astype(str)),
            "flag": rng.integers(0, 2, 700).astype(float),
            "sum": y + rng.standard_normal(700),
        }
    )
    return Dataset(X, y, "multiclass", tuple("abcd"))


DATASETS = {
    "iris": numeric(load_iris),
    "wine": numeric(load_wine),
    "breast_cancer": numeric(load_breast_cancer),
    "mixed": mixed(),
}


def pymfe(X, y, categorical, *, groups, features, summary):
    extractor = MFE(groups=groups, features=features, summary=summary, random_state=0)
    with warnings.catch_warnings():
        # Columns with few values cannot be cut into bins of equal frequency; both then merge the bins.
        warnings.filterwarnings("ignore", message="It is not possible make equal discretization")
        extractor.fit(X, y, cat_cols=categorical or None, transform_cat=None, check_bool=False)
        names, values = extractor.extract(suppress_warnings=True)
    return dict(zip(names, values, strict=True))


@pytest.fixture(params=DATASETS, scope="module")
def data(request):
    return DATASETS[request.param]


@pytest.fixture(scope="module")
def ours(data):
    return describe_dataset(data)


def of_pymfe(data, groups, features, summary=("mean",)):
    categorical = [data.X.columns.get_loc(name) for name in data.categorical]
    X = data.X.astype(object).to_numpy() if categorical else data.X.to_numpy()
    return pymfe(X, data.y, categorical, groups=groups, features=features, summary=summary)


def test_sizes_types_and_class_shares(data, ours):
    theirs = of_pymfe(
        data,
        ["general"],
        ["attr_to_inst", "nr_inst", "nr_attr", "nr_class", "nr_cat", "nr_bin", "freq_class"],
        ["min", "max"],
    )
    assert np.exp(-ours["log_rows_per_column"]) == pytest.approx(theirs["attr_to_inst"], rel=1e-6)
    assert np.exp(ours["log_rows"]) == pytest.approx(theirs["nr_inst"], rel=1e-6)
    assert np.exp(ours["log_columns"]) == pytest.approx(theirs["nr_attr"], rel=1e-6)
    assert np.exp(ours["log_classes"]) == pytest.approx(theirs["nr_class"], rel=1e-6)
    assert ours["share_categorical"] == pytest.approx(theirs["nr_cat"] / theirs["nr_attr"], abs=1e-6)
    assert ours["share_binary"] == pytest.approx(theirs["nr_bin"] / theirs["nr_attr"], abs=1e-6)
    assert ours["class_share_min"] == pytest.approx(theirs["freq_class.min"], abs=1e-6)
    assert ours["class_share_max"] == pytest.approx(theirs["freq_class.max"], abs=1e-6)


def test_moments_outliers_and_correlations(data, ours):
    theirs = of_pymfe(
        data, ["statistical"], ["skewness", "kurtosis", "cor", "nr_cor_attr", "nr_outliers"], ["mean", "sd", "max"]
    )
    for name in ("skewness_mean", "skewness_sd", "kurtosis_mean", "kurtosis_sd"):
        assert ours[name] == pytest.approx(theirs[name.replace("_", ".")], rel=1e-6, abs=1e-6)
    assert ours["correlation_mean"] == pytest.approx(theirs["cor.mean"], abs=1e-6)
    assert ours["correlation_sd"] == pytest.approx(theirs["cor.sd"], abs=1e-6)
    assert ours["correlation_max"] == pytest.approx(theirs["cor.max"], abs=1e-6)
    assert ours["correlation_share_high"] == pytest.approx(theirs["nr_cor_attr"], abs=1e-6)
    assert ours["share_outlier_columns"] == pytest.approx(theirs["nr_outliers"] / len(data.numeric), abs=1e-6)


def test_quantiles_of_the_moments(data, ours):
    values = data.X[list(data.numeric)].to_numpy()
    for name in ("skewness", "kurtosis"):
        each = pymfe(values, data.y, [], groups=["statistical"], features=[name], summary=None)[name]
        expected = np.quantile(each, (0.25, 0.75))
        assert [ours[f"{name}_q25"], ours[f"{name}_q75"]] == pytest.approx(expected, rel=1e-6)


def test_sparsity(data, ours):
    coded = data.X.assign(**{name: data.X[name].cat.codes.astype(float) for name in data.categorical})
    theirs = pymfe(coded.to_numpy(), data.y, [], groups=["statistical"], features=["sparsity"], summary=["mean"])
    assert ours["sparsity_mean"] == pytest.approx(theirs["sparsity.mean"], abs=1e-6)


def test_information(data, ours):
    theirs = of_pymfe(
        data, ["info-theory"], ["class_ent", "attr_ent", "mut_inf", "eq_num_attr", "ns_ratio"], ["mean", "max"]
    )
    assert ours["class_entropy"] == pytest.approx(theirs["class_ent"], abs=1e-6)
    assert ours["attribute_entropy_mean"] == pytest.approx(theirs["attr_ent.mean"], abs=1e-6)
    # pymfe adds 1e-8 to every cell of a joint distribution, which moves the entropy by up to 3e-7 a cell.
    assert ours["mutual_information_mean"] == pytest.approx(theirs["mut_inf.mean"], abs=1e-5)
    assert ours["mutual_information_max"] == pytest.approx(theirs["mut_inf.max"], abs=1e-5)
    assert ours["equivalent_attributes"] == pytest.approx(theirs["eq_num_attr"], rel=1e-4)
    assert ours["noise_to_signal"] == pytest.approx(theirs["ns_ratio"], rel=1e-4)


def test_class_balance_and_principal_components(data, ours):
    standardised = StandardScaler().fit_transform(data.X[list(data.numeric)])
    theirs = pymfe(standardised, data.y, [], groups=["complexity"], features=["c1", "c2", "t4"], summary=["mean"])
    assert ours["class_entropy_share"] == pytest.approx(theirs["c1"], abs=1e-6)
    assert ours["class_imbalance"] == pytest.approx(theirs["c2"], abs=1e-6)
    assert ours["pca_components_95"] == pytest.approx(theirs["t4"], abs=1e-6)


def test_spectrum(data, ours):
    standardised = StandardScaler().fit_transform(data.X[list(data.numeric)])
    theirs = pymfe(standardised, data.y, [], groups=["statistical"], features=["eigenvalues"], summary=["mean", "max"])
    n_columns = standardised.shape[1]
    share = theirs["eigenvalues.max"] / (theirs["eigenvalues.mean"] * n_columns)
    assert ours["pca_share_first"] == pytest.approx(share, abs=1e-6)
