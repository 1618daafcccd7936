"""Reading, splitting and scaling, beside scikit-learn."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pytest
import sklearn.datasets
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf
from pyarrow import parquet
from sklearn.model_selection import KFold, train_test_split
from sklearn.preprocessing import MaxAbsScaler, OneHotEncoder, StandardScaler

from backprop_svc import datasets
from backprop_svc.cli.config.problem import Problem, problem
from backprop_svc.cli.config.schema import DataConfig, InitConfig, NetworkConfig
from command import call_anew

CONF = Path(datasets.__file__).parents[1] / "conf" / "data"


def configured(sizes: list[int], **data: Any) -> Problem:
    init = InitConfig(method="he")
    return problem(NetworkConfig(sizes=sizes), DataConfig(**{"path": None, **data}), init)


@pytest.mark.parametrize("name", datasets.BUNDLED)
def test_sets_of_scikit_learn(name: str) -> None:
    expected = getattr(sklearn.datasets, f"load_{name}")()
    found = datasets.load(f"sklearn://{name}", "all", ["target"])
    assert (found.x == expected.data).all()
    assert (found.y == expected.target[:, np.newaxis]).all()
    last = datasets.load(f"sklearn://{name}", [expected.feature_names[-1]], ["target"])
    assert (last.x == expected.data[:, -1:]).all()


def test_scikit_learn_is_optional(tmp_path: Path) -> None:
    # Python looks here first.
    (tmp_path / "sklearn.py").write_text("raise ModuleNotFoundError(name='sklearn')")
    done = call_anew(tmp_path, "train", "data=iris")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "data.path is 'sklearn://iris', and scikit-learn is not installed" in line
    assert "pip install 'backprop-svc[sklearn]'" in line


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_all_is_every_column_but_those_of_y(tmp_path: Path, kind: str) -> None:
    file = tmp_path / f"table.{kind}"
    if kind == "csv":
        file.write_text("a,y,all,z\n1,2,3,4\n5,6,7,8\n")
    else:
        columns = {"a": [1, 5], "y": [2, 6], "all": [3, 7], "z": [4, 8]}
        parquet.write_table(pa.table(columns), file)
    found = configured([2, 2], path=str(file), x="all", y=["y", "z"]).data
    assert found.x.tolist() == [[1, 3], [5, 7]]
    assert found.y.tolist() == [[2, 4], [6, 8]]
    assert configured([1, 1], path=str(file), x=["all"], y="y").data.x.tolist() == [[3], [7]]
    with pytest.raises(ValueError, match=r"data\.x is all, and .* has no columns but those"):
        datasets.load(str(file), "all", ["a", "y", "all", "z"])


@given(st.lists(st.integers(-9, 9), min_size=1))
def test_one_hot_is_that_of_scikit_learn(labels: list[int]) -> None:
    column = np.array(labels, dtype=np.float64)[:, np.newaxis]
    expected = OneHotEncoder(sparse_output=False).fit_transform(column)
    assert datasets.one_hot(column).tolist() == expected.tolist()


@given(st.data(), st.integers(2, 60), st.integers(0, 2**32 - 1))
def test_split_is_that_of_scikit_learn(data: st.DataObject, rows: int, seed: int) -> None:
    fraction = data.draw(st.floats(1e-6, 1 - 1.001 / rows))
    x, y = np.arange(2.0 * rows).reshape(rows, 2), np.arange(rows)[:, np.newaxis] / 2
    expected = train_test_split(x, y, test_size=fraction, random_state=seed)
    train, validation = datasets.split(datasets.Dataset(x, y), fraction, seed)
    found = train.x, validation.x, train.y, validation.y
    assert [part.tolist() for part in found] == [part.tolist() for part in expected]


@given(st.data(), st.integers(2, 60), st.integers(0, 2**32 - 1))
def test_folds_are_those_of_scikit_learn(data: st.DataObject, rows: int, seed: int) -> None:
    folds = data.draw(st.integers(2, rows))
    x = np.arange(2.0 * rows).reshape(rows, 2)
    whole = datasets.Dataset(x, x[:, :1])
    expected = KFold(folds, shuffle=True, random_state=seed).split(x)
    for fold, (train, aside) in enumerate(expected):
        found = datasets.split(whole, 0, seed, folds=folds, fold=fold)
        assert found[0].x.tolist() == x[train].tolist()
        assert found[1].y.tolist() == x[aside, :1].tolist()


def test_no_share_keeps_the_order() -> None:
    whole = datasets.Dataset(np.arange(5.0)[:, np.newaxis], np.ones((5, 2)))
    train, validation = datasets.split(whole, 0, 7)
    assert train.x.tolist() == whole.x.tolist()
    assert (validation.x.shape, validation.y.shape) == ((0, 1), (0, 2))
    assert configured([1, 2], x=[1, 2], y=[[1, 2], [3, 4]]).validation is None


@pytest.mark.parametrize(
    ("scale", "scaler"), [("standard", StandardScaler()), ("max", MaxAbsScaler())]
)
def test_scales_know_only_the_rows_of_training(scale: str, scaler: Any) -> None:
    x, y = sklearn.datasets.load_wine(return_X_y=True)
    train, validation, of_train, of_validation = train_test_split(
        x, y[:, np.newaxis] + 1.0, test_size=0.3, random_state=5
    )
    scales = {"x_scale": scale, "y_scale": scale}
    aside = {"validation": 0.3, "validation_seed": 5}
    work = configured([13, 1], x=x.tolist(), y=(y + 1).tolist(), **scales, **aside)
    assert work.validation is not None
    np.testing.assert_allclose(work.data.x, scaler.fit_transform(train), atol=1e-12)
    np.testing.assert_allclose(work.validation.x, scaler.transform(validation), atol=1e-12)
    np.testing.assert_allclose(work.data.y, scaler.fit_transform(of_train), atol=1e-12)
    np.testing.assert_allclose(work.validation.y, scaler.transform(of_validation), atol=1e-12)


@pytest.mark.parametrize(
    ("scale", "scaler"), [("standard", StandardScaler()), ("max", MaxAbsScaler())]
)
def test_constant_columns_are_scaled_as_in_scikit_learn(scale: str, scaler: Any) -> None:
    x, _ = sklearn.datasets.load_digits(return_X_y=True)
    constant = np.column_stack([x, np.full(len(x), 0.1)])
    rows = datasets.Dataset(constant, constant[:, :1])
    (found,) = datasets.scaled(rows, x_scale=scale)
    np.testing.assert_allclose(found.x, scaler.fit_transform(constant), atol=1e-12)
    assert scale == "max" or not found.x[:, -1].any()


@pytest.mark.parametrize("scale", ["standard", "max"])
def test_no_row_of_validation_reaches_training(scale: str) -> None:
    random = np.random.default_rng(0)
    whole = datasets.Dataset(random.normal(size=(50, 3)), random.normal(size=(50, 1)))
    _, rows = datasets.split(datasets.Dataset(np.arange(50.0)[:, np.newaxis], whole.y), 0.2)
    changed = datasets.Dataset(whole.x.copy(), whole.y.copy())
    for values in changed:
        values[rows.x[:, 0].astype(int)] *= 1e6
    before, after = (
        datasets.scaled(*datasets.split(each, 0.2), x_scale=scale, y_scale=scale)[0]
        for each in (whole, changed)
    )
    assert before.x.tobytes() == after.x.tobytes()
    assert before.y.tobytes() == after.y.tobytes()


@pytest.mark.parametrize(
    ("name", "sizes", "rows"),
    [
        ("digits", [64, 10], (1437, 360)),
        ("iris", [4, 3], (120, 30)),
        ("breast_cancer", [30, 1], (455, 114)),
        ("ames_features", [6, 1], (2344, 586)),
    ],
)
def test_sets_of_the_configuration(name: str, sizes: list[int], rows: tuple[int, int]) -> None:
    file = OmegaConf.load(CONF / f"{name}.yaml")
    settings = cast(DataConfig, OmegaConf.merge(OmegaConf.structured(DataConfig), file))
    work = problem(NetworkConfig(sizes=sizes), settings, InitConfig(method="he"))
    assert work.validation is not None
    assert (len(work.data.x), len(work.validation.x)) == rows
    assert np.abs(work.data.x).max() < 30
    if settings.one_hot:
        assert set(work.data.y.sum(axis=1)) == {1.0}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"one_hot": True, "y": [0, 1.5, 0.2]}, "data.y is 1.5 in row 2; allowed: with"),
        ({"one_hot": True, "y": [0, 1, np.nan]}, "data.y is nan in row 3"),
        ({"one_hot": True, "y": [0, np.inf, 1]}, "data.y is inf in row 2"),
        ({"one_hot": True, "y": [[0, 1]] * 3}, "data.y has 2 columns; allowed: with data.on"),
        ({"one_hot": True, "y": [0, 1, 2]}, "data.y has 3 columns; allowed: 1, one for each"),
        ({"validation": 1.0}, "data.validation is 1.0; allowed: shares of the rows from 0 to"),
        ({"validation": -0.1}, "data.validation is -0.1; allowed"),
        ({"validation": np.nan}, "data.validation is nan; allowed"),
        ({"validation": 0.9}, "data.validation is 0.9, which leaves none of 3 rows"),
        ({"validation": 0.1, "validation_seed": -1}, "data.validation_seed is -1; allowed"),
        ({"folds": 3}, "data.folds is 3, without data.fold; allowed: data.fold from 0 to 2"),
        ({"folds": 3, "fold": 3}, "data.fold is 3; allowed: from 0 to 2"),
        ({"folds": 3, "fold": -1}, "data.fold is -1; allowed: whole numbers from 0"),
        ({"folds": 4, "fold": 0}, "data.folds is 4; allowed: from 2 to 3, the number of rows"),
        ({"folds": 1, "fold": 0}, "data.folds is 1; allowed: from 2 to 3"),
        ({"fold": 0}, "data.fold is 0, without folds; allowed: data.folds, too"),
        (
            {"folds": 3, "fold": 0, "validation": 0.5},
            "data.validation is 0.5, with data.folds=3; allowed: one of them",
        ),
        ({"y": [1, 2]}, "data.y has 2 rows; allowed: 3, as many as data.x"),
        ({"y_scale": 0}, "data.y_scale is 0, and would divide by 0.0; allowed: finite n"),
        ({"one_hot": True, "y": [2, 2, 2]}, "data.y has a single class; allowed: with"),
        ({"x": "all"}, "data.x is 'all'; allowed: without data.path a number"),
        ({"path": "sklearn://mnist"}, "data.path is 'sklearn://mnist'; allowed: sklearn"),
    ],
)
def test_bad_settings_are_named(settings: dict[str, Any], message: str) -> None:
    names = {"x": "all", "y": "target"} if "path" in settings else {}
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        configured([1, 1], **{"x": [1, 2, 3], "y": [1, 2, 3], **names, **settings})
    assert str(caught.value).startswith(message)


def test_no_sizes_are_named_where_rows_come_from_a_table() -> None:
    with pytest.raises(ValueError, match=r"network sizes is \[\]"):
        configured([], path="pkg://ames.csv", x="all", y="sale_price_usd")


@pytest.mark.parametrize(
    ("network", "data", "sizes"),
    [
        ({"hidden": [3, 2]}, {"y": "n"}, (2, 3, 2, 1)),
        ({"hidden": []}, {"y": "n"}, (2, 1)),
        ({"hidden": [3]}, {"y": "c"}, (1, 3, 2)),
        ({"hidden": [3], "loss": "binary_cross_entropy"}, {"y": "c"}, (1, 3, 1)),
        ({"sizes": [1, 1]}, {"y": "c"}, (1, 1)),
        ({"sizes": [1, 2]}, {"y": "c"}, (1, 2)),
    ],
)
def test_sizes_follow_from_the_data(
    tmp_path: Path, network: dict[str, Any], data: dict[str, Any], sizes: tuple[int, ...]
) -> None:
    (tmp_path / "t.csv").write_text("n,c\n1,u\n2,v\n3,u\n")
    settings = DataConfig(path=str(tmp_path / "t.csv"), x="all", **data)
    work = problem(NetworkConfig(**network), settings, InitConfig(method="he"))
    assert work.network.sizes == sizes
    assert len(work.weights) == work.network.parameters


@pytest.mark.parametrize("path", ["~nobody-at-all/x.csv", "x" * 10_000, "a\0b", "no.csv"])
def test_what_is_no_file_is_named(path: str) -> None:
    with pytest.raises(FileNotFoundError, match=r"data\.path is .* no file") as caught:
        datasets.load(path, ["a"], ["b"])
    assert len(str(caught.value)) < 400
