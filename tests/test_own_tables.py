"""Tables as people have them: signs, kinds of files, texts, missing values."""

from __future__ import annotations

import bz2
import decimal
import gzip
import io
import lzma
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import feather, parquet
from sklearn.impute import SimpleImputer
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import backprop_svc as bp
from backprop_svc.datasets import Dataset, Preparation, Reading, load, prepare, read

NUMBERS: dict[str, tuple[dict[str, Any], list[list[float]]]] = {
    "a;y\n1,5;2\n3;4\n": ({}, [[1.5], [3]]),
    "a;y\n1.234;2.5\n3.456;4\n": ({}, [[1.234], [3.456]]),
    "a\ty\n1.5\t2\n": ({}, [[1.5]]),
    "a|y\n1.5|2\n": ({}, [[1.5]]),
    "a   b y\n1 2   3\n 4 5 6\n": ({}, [[1, 2], [4, 5]]),
    "sep=;\na;y\n1;2\n": ({}, [[1]]),
    "a,y\r1,2\r3,4\r": ({}, [[1], [3]]),
    "a,y\r\n1,2\r\n\r\n3,4": ({}, [[1], [3]]),
    "a , b, y\n 1 , 2, 3\n": ({}, [[1, 2]]),
    "a,y,\n1,2,\n3,4,\n": ({}, [[1], [3]]),
    "a,b,y\n1,True,2\n3,false,4\n": ({}, [[1, 1], [3, 0]]),
    "a,y\n\u22125,1\n+2,3\n.5,4\n1e-3,5\n": ({}, [[-5], [2], [0.5], [0.001]]),
    "a,'b,c',y\n1,'2',3\n": ({}, [[1, 2]]),
    '\ufeffa,"b\nc",y\n1,2,3\n': ({}, [[1, 2]]),
    "1,2\n3,4\n": ({"header": False, "y": "f1"}, [[1], [3]]),
    "2019,2020\n1,2\n3,4\n": ({"header": True, "y": "2020"}, [[1], [3]]),
    "My table\n\na,y\n1,2\n": ({"header": 3}, [[1]]),
    "a;y\n1,234;2\n": ({"decimal": "comma"}, [[1.234]]),
    "a;y\n1.234;2\n": ({"decimal": "point"}, [[1.234]]),
    "a;y\n1.234,5;2\n": ({"thousands": "point"}, [[1234.5]]),
    "a;y\n1'234.50;2\n": ({"thousands": "apostrophe"}, [[1234.5]]),
    "a;y\n1 234,5;2\n1\u202f000,5;2\n": ({"thousands": "space"}, [[1234.5], [1000.5]]),
    'a,y\n"1,234",2\n"12,34,567.5",2\n': ({"thousands": "comma"}, [[1234], [1234567.5]]),
    "a,y\n-$12,2\n$-3.5,4\n$5,1\n": ({"affixes": "drop"}, [[-12], [-3.5], [5]]),
    "a,y\n12 %,2\n13.5%,4\n": ({"affixes": "drop"}, [[12], [13.5]]),
    "a;y\n1.234,50 €;2\n": ({"affixes": "drop", "thousands": "point"}, [[1234.5]]),
    "a,y\n1970-01-02,2\n1969-12-31T12:00,4\n": ({"dates": ["a"]}, [[1], [-0.5]]),
    "a,y\n03.01.1970,2\n": ({"dates": "a", "date_format": "%d.%m.%Y"}, [[2]]),
    "a:y\n1:2\n": ({"delimiter": ":"}, [[1]]),
}


@pytest.mark.parametrize("text", NUMBERS)
def test_numbers_are_found_or_told(tmp_path: Path, text: str) -> None:
    told, expected = NUMBERS[text]
    file = tmp_path / "table.csv"
    file.write_bytes(text.encode())
    reading = Reading(**{name: value for name, value in told.items() if name != "y"})
    found = prepare(str(file), "all", told.get("y", "y"), reading=reading)
    assert found.train.x.tolist() == expected


DOUBTS: dict[str, str] = {
    "a;y\n1,234;2\n": "'1,234' in row 1 (line 2); .*thousands=comma or data.decimal=comma",
    "a;y\n1.234;2\n": "'1.234' in row 1 .*data.thousands=point or data.decimal=point",
    "a;y\n1.234,5;2\n3,5;4\n": "'1.234,5' in row 1 .*; write data.thousands=point;",
    'a,y\n"1,5",2\n1.5,3\n2.5,4\n': "'1,5' in row 1 .*; write data.decimal=comma;",
    "a,y\n$5,2\n": "'$5' in row 1 .*; data.affixes=drop leaves out",
    "a,y\nRs. 5,2\nRs. 3,2\n": "'Rs. 5' in row 1 .* and 1 more; .*data.affixes=drop",
    "a,y\n#DIV/0!,2\n1,4\n2,5\n": "'#DIV/0!' in row 1 .*; correct it, or leave",
    'a,y\n"1,23",2\n"2,500",3\n1,2\n': "'1,23' in row 1 .*data.decimal=comma",
    "a,y\n5 km,2\n3 km,2\n": "'5 km' in row 1 .* and 1 more; .*data.affixes=drop",
    "a,y\n1/31/2020,2\n": "'1/31/2020' in row 1 .*; if it is a date, write data.dates=[a]",
    "1,2\n3,4\n": "has numbers in line 1, where the names .*data.header=false",
    "5.1,Iris\n4.9,Iris\n": "has numbers in line 1, where the names",
    "A table\n\na,y\n1,2\n": "first line than in most others.* write data.header=3 if",
    "a,b;c,y\n1,2;3,4\n": "is cut into equal rows by comma or semicolon; .*delimiter=comma",
    "a,y\n1,2\n3,4,5\n": "has 3 values in line 3, and 2 in line 1",
    "a,b,y\n1,2,3\n\n3,4\n": "has 2 values in line 4, and 3 in line 1",
    "a,y\n1,2,\n3,4,\n": "has 3 values in line 2, and 2 in line 1",
    'a,y\n1,2\n"3,4\n5,6\n': 'has a quote " in line 3 that is not closed',
    "a,y\n1,2\na,y\n3,4\n": "'a' in row 2 (line 3); .*it is the header again: remove that",
    'a,b,y\n1,"x\ny",2\n3,z,foo\n4,z,5\n': "'foo' in row 2 (line 4)",
    "a,y\n1,2\nfoo,3\n4,5\n": "'foo' in row 2 (line 3); .*data.categories=[a]",
    "a,y\n9007199254740993,1\n": "is 9007199254740993 in row 1 .*2^53; .*data.categories",
    "a,y\n1e999,1\n": "'1e999' in row 1 (line 2); allowed: numbers that float64 holds",
    "a,a,y\n1,2,3\n": "has the column 'a' more than once",
    "a,y\n": "has no rows",
    "a,y": "has no rows",
    "": "is empty; allowed: a table with a header",
    "\n \n": "is empty",
    "a,y\n1,\x002\n": "is no text: line 2 has a byte of value 0",
    "a,y\n1,2\n,3\n?,4\n": "in 2 rows: 'a' 2 (first in row 2 (line 3)); .*data.missing=drop",
    "a,y\nx,\nz,3\n": "in 1 row: 'y' 1 .*data.missing=drop to leave these rows out$",
    f"a,y\n{''.join(f'name {n} x,1' + chr(10) for n in range(50))}": "has 50 different texts",
    ",a,y\n0.5,21,1\n0.5,22,2\n": "has a column without a name, the first",
}


@pytest.mark.parametrize("text", DOUBTS)
def test_what_is_in_doubt_is_named_with_its_setting(tmp_path: Path, text: str) -> None:
    file = tmp_path / "table.csv"
    file.write_bytes(text.encode())
    message = DOUBTS[text]
    for sign in "()[]^$":
        end = sign == "$" and message.endswith("$")
        message = message if end else message.replace(sign, f"\\{sign}")
    with pytest.raises(bp.SettingError, match=message) as caught:
        load(str(file), "all", "y")
    assert "table.csv" in str(caught.value)
    assert "allowed: " in str(caught.value)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_encodings_that_a_file_begins_with(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "table.csv"
    file.write_bytes("größe,y\n1,2\n".encode(encoding))
    assert load(str(file), ["größe"], ["y"]).x.tolist() == [[1]]


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16-le", "mac-roman"])
def test_encodings_that_are_told(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "table.csv"
    file.write_bytes("größe,y\n1,2\n".encode(encoding))
    with pytest.raises(bp.SettingError, match=r"table\.csv is no .*data\.encoding="):
        load(str(file), "all", ["y"])
    told = Reading(encoding=encoding)
    assert prepare(str(file), ["größe"], "y", reading=told).train.x.tolist() == [[1]]
    for name in ("nonsense", "hex", "rot13"):
        with pytest.raises(bp.SettingError, match=r"data\.encoding is"):
            read(str(file), Reading(encoding=name))


COMPRESSED: dict[str, Any] = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}


@pytest.mark.parametrize("ending", COMPRESSED)
def test_compressed_files(tmp_path: Path, ending: str) -> None:
    rows = "".join(f"{n};{n * 7919 % 1000}\n" for n in range(500))
    data = COMPRESSED[ending](f"a;y\n{rows}".encode())
    file = tmp_path / f"TABLE.CSV.{ending.upper()}"
    file.write_bytes(data)
    assert load(str(file), "all", "y").x[:, 0].tolist() == list(range(500))
    file.write_bytes(data[: len(data) // 2])
    with pytest.raises(bp.SettingError, match=r"TABLE\.CSV.* is cut off or broken"):
        load(str(file), "all", "y")


FRAME = pd.DataFrame({"a": [1.5, 2, 3], "s": ["u", "v", "u"], "y": [1, 2, 3]}, index=[5, 7, 9])


def _zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("inner.csv", FRAME.to_csv(index=False))


def _stream(path: Path) -> None:
    table = pa.Table.from_pandas(FRAME)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as out:
        out.write_table(table)


WRITERS: dict[str, Any] = {
    "T.PARQUET": FRAME.to_parquet,
    "t.pq": FRAME.to_parquet,
    "t.feather": lambda path: feather.write_feather(FRAME.reset_index(drop=True), str(path)),
    "T.ARROW": lambda path: feather.write_feather(pa.Table.from_pandas(FRAME), str(path)),
    "t.arrows": _stream,
    "t.zip": _zip,
    "t.csv": FRAME.to_csv,
    "T.TSV": lambda path: FRAME.to_csv(path, sep="\t"),
    "t.dat": lambda path: FRAME.to_csv(path, sep=" ", index=False),
}


@pytest.mark.parametrize("name", WRITERS)
def test_kinds_of_files(tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path / name)
    found = load(str(tmp_path / name), "all", "y")
    assert found.x.tolist() == [[1.5, 1, 0], [2, 0, 1], [3, 1, 0]]
    assert found.y.tolist() == [[1], [2], [3]]
    if name not in {"t.csv", "T.TSV", "t.dat"}:
        whole = (tmp_path / name).read_bytes()
        for part in (whole[: len(whole) // 2], whole[:-9], whole[:12]):
            (tmp_path / name).write_bytes(part)
            with pytest.raises(bp.SettingError, match=f"{name}.* cannot be read"):
                load(str(tmp_path / name), "all", "y")


def test_folders_of_parquet(tmp_path: Path) -> None:
    for key in (2, 1):
        (tmp_path / "set" / f"key={key}").mkdir(parents=True)
        part = FRAME.assign(a=FRAME.a * key)
        part.to_parquet(tmp_path / "set" / f"key={key}" / "PART.PARQUET", index=False)
    (tmp_path / "set" / "_SUCCESS").touch()
    found = prepare(str(tmp_path / "set"), ["a", "key"], "y").train
    assert found.x.tolist() == [[1.5, 1], [2, 1], [3, 1], [3, 2], [4, 2], [6, 2]]
    more = FRAME.assign(z=1.0)
    more.to_parquet(tmp_path / "set" / "key=2" / "PART.PARQUET", index=False)
    # What one file lacks is missing, and not left out silently.
    with pytest.raises(bp.SettingError, match="in 3 rows: 'z' 3"):
        load(str(tmp_path / "set"), "all", "y")
    FRAME.assign(a=["u", "v", "w"]).to_parquet(tmp_path / "set" / "z.parquet")
    with pytest.raises(bp.SettingError, match="cannot be read as one table"):
        load(str(tmp_path / "set"), "all", "y")
    (tmp_path / "none").mkdir()
    with pytest.raises(bp.SettingError, match="a folder without Parquet files"):
        load(str(tmp_path / "none"), "all", "y")


def test_arrays_of_numpy(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(6.0).reshape(3, 2))
    assert load(str(tmp_path / "a.npy"), "all", "f1").x.tolist() == [[0], [2], [4]]
    pictures = np.arange(12).reshape(3, 2, 2)
    with (tmp_path / "A.NPZ").open("wb") as file:
        np.savez(file, x=pictures, y=[1, 2, 3], z=np.arange(5))
    assert load(str(tmp_path / "A.NPZ"), "x", "y").x.tolist() == pictures.reshape(3, 4).tolist()
    with pytest.raises(bp.SettingError, match="column 'z' with 5 rows; allowed: 3, as 'y'"):
        load(str(tmp_path / "A.NPZ"), "all", "y")
    fields = np.array([(1, 2.5), (3, 4.5)], dtype=[("a", int), ("y", float)])
    np.save(tmp_path / "s.npy", fields)
    assert load(str(tmp_path / "s.npy"), "all", "y").y.tolist() == [[2.5], [4.5]]
    np.save(tmp_path / "o.npy", np.array([{}, 1], dtype=object))
    with pytest.raises(bp.SettingError, match=r"o\.npy', which holds objects"):
        load(str(tmp_path / "o.npy"), "all", "f1")


@pytest.mark.parametrize(
    ("begin", "said"),
    [
        (b"\x89PNG\r\n\x1a\n\x00", "it is a picture"),
        (b"%PDF-1.7\n", "it is a PDF"),
        (b"\xd0\xcf\x11\xe0\x00", "it is a workbook of Excel: save it as CSV"),
        (b"\x80\x04\x95\x00", "it is a pickle, which is not loaded"),
        (b"<!DOCTYPE html>", "it is a page of the web"),
        (b"\x00\x01\x02", "is no text: line 1 has a byte of value 0"),
        (b"\xff\xff\xff\xff\x10", "is cut off or broken"),
        (b"PK\x03\x04abc", "its zip is cut off, broken or locked"),
    ],
)
def test_what_is_no_table_is_named_by_its_file(tmp_path: Path, begin: bytes, said: str) -> None:
    (tmp_path / "mine.csv").write_bytes(begin + bytes(range(256)))
    with pytest.raises(bp.SettingError, match=f"mine.csv.*{said}") as caught:
        load(str(tmp_path / "mine.csv"), "all", "y")
    assert len(str(caught.value)) < 400
    assert str(caught.value).isprintable()


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(FileNotFoundError, match="no file"):
        load(str(tmp_path / "pipe.csv"), "all", "y")


INDICES = {
    ",a,y\n0,1,2\n1,3,4\n": "the column without a name",
    "Unnamed: 0,a,y\n5,1,2\n9,3,4\n": "the column 'Unnamed: 0'",
    '"",a,y\nMazda,1,2\nDatsun,3,4\n': "the column without a name",
    "PassengerId,a,y\n1,1,2\n2,3,4\n": "the column 'PassengerId'",
    "id;a;y\n0;1;2\n1;3;4\n": "the column 'id'",
}


@pytest.mark.parametrize("text", INDICES)
def test_what_only_tells_rows_apart_is_left_out_and_said(tmp_path: Path, text: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    found = prepare(str(tmp_path / "t.csv"), "all", "y")
    assert found.train.x.tolist() == [[1], [3]]
    assert found.notes == (
        f"data.x=all leaves out {INDICES[text]}, which tells the rows apart",
    )


def test_patterns_choose_and_exclude() -> None:
    table = {"size_a": [1, 2], "size_b": [3, 4], "n[1]": [5, 6], "y": [7, 8]}
    assert load(table, ["size_?"], "y").x.tolist() == [[1, 3], [2, 4]]
    assert load(table, "all", "y", exclude=["size*"]).x.tolist() == [[5], [6]]
    assert load(table, ["n[1]"], "y").x.tolist() == [[5], [6]]
    assert load(table, ["size*"], "y", exclude=["size_b"]).x.tolist() == [[1], [2]]
    for given in ({"x": ["q*"]}, {"x": "all", "exclude": ["q"]}, {"x": ["y"], "exclude": "y"}):
        with pytest.raises(bp.SettingError, match=r"^data\.(x|exclude) names"):
            load(table, y="y", **given)


MIXED = pd.DataFrame(
    {
        "n": np.where(np.arange(40) % 7 == 3, np.nan, np.arange(40) ** 2 % 11),
        "c": np.array(["u", "v", "w"])[np.arange(40) % 3],
        "y": np.arange(40) * 1.5,
    }
)


@pytest.mark.parametrize("missing", ["drop", "mean"])
def test_what_is_filled_in_and_scaled_is_that_of_scikit_learn(missing: str) -> None:
    found = prepare(
        MIXED, "all", "y", missing=missing, x_scale="standard", validation=0.3,
        validation_seed=4,
    )  # fmt: skip
    frame = MIXED.dropna() if missing == "drop" else MIXED
    parts = train_test_split(frame, test_size=0.3, random_state=4)
    imputer, scaler = SimpleImputer(), StandardScaler()
    encoder = OneHotEncoder(sparse_output=False).fit(frame[["c"]])
    scaler.fit(imputer.fit_transform(parts[0][["n"]]))
    assert found.validation is not None
    for part, own in zip(parts, (found.train, found.validation), strict=True):
        numbers = scaler.transform(imputer.transform(part[["n"]]))
        expected = np.hstack([numbers, encoder.transform(part[["c"]])])
        np.testing.assert_allclose(own.x, expected, atol=1e-12)
        assert own.y[:, 0].tolist() == part["y"].tolist()
    assert found.preparation.missing == missing


def test_missing_categories_are_their_shares() -> None:
    table = pd.DataFrame({"c": ["u", None, "v", "u"], "y": [1, 2, 3, None]})
    found = prepare(table, "all", "y", missing="mean")
    assert found.train.x.tolist() == [[1, 0], [0.5, 0.5], [0, 1]]
    assert found.notes == (
        "data.missing=mean leaves out 1 row without a target",
        "data.missing=mean fills in values of 1 row",
    )


def test_texts_that_are_missing_are_told() -> None:
    table = {"c": ["NA", "US", "DE"], "n": ["1", "-9", "3"], "m": [-9, 2.0, 4], "y": [1, 2, 3]}
    with pytest.raises(bp.SettingError, match="'c' 1"):
        load(table, ["c"], "y")
    told = Reading(missing_values=[""])
    assert prepare(table, ["c"], "y", reading=told).preparation.input_names[1] == "c=NA"
    told = Reading(missing_values=[-9])
    found = prepare(table, ["n", "m"], "y", reading=told, missing="mean").train
    assert found.x.tolist() == [[1, 3], [2, 2], [3, 4]]


def test_labels_become_classes() -> None:
    table = pd.DataFrame({"a": [1, 2, 3], "y": ["mid", "low", "mid"], "n": [3, 5, 3]})
    found = prepare(table, ["a"], "y")
    assert found.train.y.tolist() == [[0, 1], [1, 0], [0, 1]]
    assert found.preparation.classes == ("low", "mid")
    assert load(table, ["a"], "y", one_hot=False).y.tolist() == [[1], [0], [1]]
    assert prepare(table, ["a"], "n", one_hot=True).preparation.classes == ("3", "5")
    told = Reading(categories=["n"])
    assert prepare(table, ["a"], "n", reading=told).preparation.classes == ("3", "5")
    with pytest.raises(bp.SettingError, match="'y' has texts; allowed: one column of class"):
        load(table, ["a"], ["y", "n"])
    with pytest.raises(bp.SettingError, match="a single class"):
        load(table[::2], ["a"], "y")
    with pytest.raises(bp.SettingError, match=r"y_scale is 'max', and data\.y has classes"):
        prepare(table, ["a"], "y", y_scale="max")


COLUMNS: list[tuple[Any, list[float]]] = [
    (pd.array([1, 2], dtype="Int64"), [1, 2]),
    (pd.array([1.5, 2], dtype="Float32"), [1.5, 2]),
    (pd.array([True, False], dtype="boolean"), [1, 0]),
    (np.array([True, False]), [1, 0]),
    (pd.array([1, 2], dtype="int64[pyarrow]"), [1, 2]),
    (pd.array(["1.5", "2"], dtype="string[pyarrow]"), [1.5, 2]),
    (pd.Categorical([3, 4]), [3, 4]),
    ([decimal.Decimal("1.5"), decimal.Decimal(2)], [1.5, 2]),
    (np.array([2**53, 2**60], dtype=np.uint64), [2.0**53, 2.0**60]),
    (np.array([1, 2], dtype=np.float16), [1, 2]),
    (np.ma.masked_array([1.0, 2.0]), [1, 2]),
]


@pytest.mark.parametrize(("column", "expected"), COLUMNS)
def test_columns_of_any_type(tmp_path: Path, column: Any, expected: list[float]) -> None:
    assert load({"a": column, "y": [1, 2]}, "all", "y").x[:, 0].tolist() == expected
    if not isinstance(column, np.ma.MaskedArray):
        frame = pd.DataFrame({"a": column, "y": [1, 2]})
        assert load(frame, "all", "y").x[:, 0].tolist() == expected
        frame.to_parquet(tmp_path / "t.parquet")
        found = load(str(tmp_path / "t.parquet"), "all", "y")
        assert found.x[:, 0].tolist() == expected
        assert load(pa.Table.from_pandas(frame), "all", "y").x[:, 0].tolist() == expected


@pytest.mark.parametrize(
    ("column", "said"),
    [
        (pd.array([1, None], dtype="Int64"), "missing values in 1 row: 'a' 1"),
        (pd.array([1, None], dtype="double[pyarrow]"), "missing values in 1 row"),
        (np.ma.masked_array([1, 2], mask=[False, True]), "missing values in 1 row"),
        ([1.0, np.nan], "missing values in 1 row"),
        ([1.0, None], "missing values in 1 row"),
        ([1, "x"], "is 'x' in row 2"),
        (np.array([2**53 + 1, 1]), "is 9007199254740993 in row 1"),
        (np.array([2**64 - 1, 1], dtype=np.uint64), "is 18446744073709551615 in row 1"),
        ([2**70 + 1, 1], "is 1180591620717411303425 in row 1"),
        ([np.inf, 1], "is inf in row 1"),
        ([1j, 1], "is of the type complex128"),
        ([[1], [2]], r"list<.*>; allowed: numbers"),
        (pd.to_datetime(["2020-01-01", "2020-01-02"]), r"write data\.dates=\[a\]"),
        (pd.to_timedelta(["1D", "2D"]), "of the type duration"),
        (pd.period_range("2020", periods=2), "pandas.period"),
        (pd.Categorical(["u", None]), "missing values in 1 row"),
    ],
)
def test_columns_that_are_refused(column: Any, said: str) -> None:
    table: Any = {"a": column, "y": [1, 2]}
    with pytest.raises(bp.SettingError, match=said):
        load(table if np.ma.isMaskedArray(column) else pd.DataFrame(table), "all", "y")


def test_new_rows_are_put_through_the_same(tmp_path: Path) -> None:
    text = "n;c;d;y\n1,5;u;2020-01-01;low\n2,5;v;2020-01-02;high\n;u;2020-01-04;low\n"
    (tmp_path / "t.csv").write_text(text)
    told = Reading(dates=["d"])
    scales: dict[str, Any] = {"x_scale": "standard", "missing": "mean", "reading": told}
    found = prepare(str(tmp_path / "t.csv"), "all", "y", **scales)
    again = Preparation.from_json(found.preparation.to_json())
    assert again == found.preparation
    same = again.apply(read(str(tmp_path / "t.csv"), told))
    assert same.x.tolist() == found.train.x.tolist()
    assert same.y.tolist() == found.train.y.tolist()
    row = {"d": ["2020-01-02"], "c": ["v"], "n": [2.5], "other": [1]}
    (inputs,) = again.apply_inputs(read(row)).tolist()
    assert inputs == found.train.x[1].tolist()
    for change, said in (
        ({"c": ["w"]}, "is 'w' in row 1; allowed: the categories of training: u, v"),
        ({"n": ["many"]}, "is 'many' in row 1; allowed: numbers"),
        ({"d": ["soon"]}, "is 'soon' in row 1; allowed: dates"),
    ):
        with pytest.raises(bp.SettingError, match=said):
            again.apply_inputs(read({**row, **change}))
    with pytest.raises(bp.SettingError, match="has no column 'n'; allowed: the columns of"):
        again.apply_inputs(read({"c": ["u"], "d": ["2020-01-01"]}))


def test_names_are_found_however_their_accents_were_typed() -> None:
    assert (
        load({"gro\u0308\u00dfe": [1, 2], "y": [3, 4]}, ["gr\u00f6\u00dfe"], "y").x[1, 0] == 2
    )


def test_bytes_are_texts() -> None:
    table = pa.table({"c": pa.array([b"u", b"v"]), "y": [1, 2]})
    assert prepare(table, "all", "y").preparation.input_names == ["c=u", "c=v"]
    with pytest.raises(bp.SettingError, match="not numeric but of the type binary"):
        load(pa.table({"c": pa.array([b"\xff"]), "y": [1]}), "all", "y")


def test_a_wrong_group_of_thousands_is_named() -> None:
    for cell in ("1,23", "1,2345", "12345,678"):
        with pytest.raises(bp.SettingError, match=f"'{cell}' in row 2; .*its groups are not"):
            prepare(
                {"a": ["1,000", cell], "y": [1, 2]}, "all", "y",
                reading=Reading(thousands="comma"),
            )  # fmt: skip


def test_predictions_are_in_the_unit_of_the_target() -> None:
    table = {"a": [1.0, 2, 4], "y": [100.0, 200, 600]}
    found = prepare(table, "all", "y", y_scale="standard")
    np.testing.assert_allclose(
        found.preparation.in_units(found.train.y), [[100], [200], [600]], rtol=1e-15
    )


def test_rows_of_validation_do_not_fill_in() -> None:
    changed = MIXED.copy()
    _, aside = train_test_split(np.arange(40), test_size=0.3, random_state=0)
    changed.loc[aside, "n"] *= 1e6
    settings: dict[str, Any] = {"missing": "mean", "x_scale": "standard", "validation": 0.3}
    trained: list[Dataset] = [
        prepare(t, "all", "y", **settings).train for t in (MIXED, changed)
    ]
    assert trained[0].x.tobytes() == trained[1].x.tobytes()


def test_byte_io_is_no_path() -> None:
    with pytest.raises(
        bp.SettingError, match=r"data\.path is .*; allowed: a text, a DataFrame"
    ):
        load(io.BytesIO(b"a,y\n1,2\n"), "all", "y")


def test_a_large_table_is_read_whole(tmp_path: Path) -> None:
    numbers = np.random.default_rng(0).normal(size=(20_000, 5))
    frame = pd.DataFrame(numbers, columns=list("abcdy"))
    frame.to_csv(tmp_path / "t.csv", index=False)
    parquet.write_table(pa.Table.from_pandas(frame), tmp_path / "t.parquet")
    for name in ("t.csv", "t.parquet"):
        found = load(str(tmp_path / name), "all", "y")
        assert found.x.tobytes() == np.ascontiguousarray(numbers[:, :4]).tobytes()


NETWORK = bp.Network(2, 1)
INPUTS: list[Any] = [
    pd.DataFrame({"a": pd.array([1, 2], dtype="Int64"), "b": [0.5, 1.5]}),
    pd.DataFrame({"a": [1, 2], "b": [0.5, 1.5]}).convert_dtypes(dtype_backend="pyarrow"),
    pa.table({"a": [1, 2], "b": [0.5, 1.5]}),
    np.ma.masked_array([[1, 0.5], [2, 1.5]]),
    [
        [decimal.Decimal(1), decimal.Decimal("0.5")],
        [decimal.Decimal(2), decimal.Decimal("1.5")],
    ],
    np.array([[1, 0.5], [2, 1.5]], dtype=object),
]


@pytest.mark.parametrize("inputs", INPUTS)
def test_training_takes_tables_of_numbers(inputs: Any) -> None:
    expected = bp.train(NETWORK, [0.5, 1], [[1, 0.5], [2, 1.5]], [1, 0])
    assert bp.train(NETWORK, [0.5, 1], inputs, [1, 0]) == expected
    assert bp.train(NETWORK, [0.5, 1], inputs, np.array([True, False])) == expected
    assert bp.train(NETWORK, [0.5, 1], inputs, pd.array([True, False])) == expected


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        (pd.DataFrame({"a": pd.array([1, None], dtype="Int64"), "b": [1, 2]}), r"x.* \[1, 0\]"),
        (
            np.ma.masked_array([[1.0, 2], [3, 4]], mask=[[False] * 2, [True] * 2]),
            r"first of 2 at \[1, 0\]",
        ),
        (np.array([[2**53 + 1, 1]]), "x has 9007199254740993; allowed: .*9007199254740992"),
        (np.array([[2**64 - 1, 1]], dtype=np.uint64), "x has 18446744073709551615"),
        ([[2**70 + 1, 1]], "x has 1180591620717411303425"),
        (
            pd.DataFrame({"a": pd.Categorical(["u", "v"]), "b": [1, 2]}),
            "x has type object, such",
        ),
        (np.array([["1", "2"]]), "x has type <U1"),
    ],
)
def test_training_refuses_what_it_would_change(inputs: Any, said: str) -> None:
    with pytest.raises(bp.SettingError, match=said):
        bp.train(NETWORK, [0.5, 1], inputs, np.ones(len(inputs)))


def test_large_whole_numbers_that_float64_holds_are_taken() -> None:
    for large in (2**53, 2**60, -(2**63), 2**70):
        x = [[large, 1]]
        assert bp.predict(NETWORK, [1, 0], x)[0, 0, 0] == float(large)
