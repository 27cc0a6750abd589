"""An export as qlib, read by Qlib itself.

Qlib pins packages of its own, so it has an environment of its own: `make qlib` makes it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ingest.config import PROJECT_ROOT
from tests.export.tables import read_table, written

SYMBOL_OF_A_FIELD = re.compile(r"^\$(\w+)$")


@pytest.fixture(scope="session")
def qlib_python() -> Path:
    python = Path(os.environ.get("PERP_QLIB_PYTHON") or PROJECT_ROOT / ".venv-qlib/bin/python")
    if not python.exists():
        pytest.skip(f"no {python}: run make qlib, or set PERP_QLIB_PYTHON")
    return python


def run(python: Path, *arguments: object, cwd: Path) -> None:
    result = subprocess.run(
        [python, *map(str, arguments)], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr[-3000:]


def test_qlib_reads_what_the_table_holds(small: Path, qlib_python: Path, tmp_path: Path) -> None:
    folder = written("qlib", small)
    script = Path(__file__).with_name("qlib_reader.py")
    run(qlib_python, script, folder, tmp_path / "found.json", cwd=tmp_path)
    found = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    table = read_table(small).rename(columns=str.lower)
    hours = pd.date_range(table["hour_ts"].min(), table["hour_ts"].max(), freq="h")
    assert found["calendar"] == [str(hour) for hour in hours]
    for symbol, rows in table.groupby("symbol"):
        spans = rows.groupby("listing_segment")["hour_ts"].agg(["min", "max"]).astype(str)
        assert found["spans"][symbol] == spans.to_numpy().tolist()
    assert set(found["spans"]) == set(table["symbol"])
    frame = pd.DataFrame(found["rows"], columns=["symbol", "hour_ts", *found["fields"]])
    frame["hour_ts"] = pd.to_datetime(frame["hour_ts"])
    assert not frame.duplicated(["symbol", "hour_ts"]).any()
    frame = frame.set_index(["symbol", "hour_ts"]).sort_index().astype("float32")
    expected = table.set_index(["symbol", "hour_ts"])
    assert frame.index.equals(expected.index)  # no row outside of the spans
    names = [f[1:] for f in found["fields"] if SYMBOL_OF_A_FIELD.match(f)]
    assert len(names) == 13
    for name in names:
        values = expected[name].to_numpy("float64").astype("float32")
        np.testing.assert_array_equal(frame[f"${name}"], values)
    close = expected["close"].unstack("symbol").reindex(hours).shift(1).stack(future_stack=True)
    close = close.swaplevel().reindex(frame.index).to_numpy().astype("float32")
    np.testing.assert_array_equal(frame["Ref($close, 1)"], close)


def test_snippet_of_the_docs(small: Path, qlib_python: Path, tmp_path: Path) -> None:
    (tmp_path / "data/export").mkdir(parents=True)
    (tmp_path / "data/export/qlib").symlink_to(written("qlib", small))
    blocks = re.findall(
        r"```python\n(.*?)```", (PROJECT_ROOT / "docs/exports.md").read_text(), re.S
    )
    (snippet,) = (b for b in blocks if "import qlib" in b)
    count = len(read_table(small, "hour_ts < '2024-01-03'"))
    check = f"assert len(frame) == {count} and frame['$close'].notna().any(), frame\n"
    (tmp_path / "snippet.py").write_text(snippet + check)
    run(qlib_python, "snippet.py", cwd=tmp_path)


def test_other_snippets_of_the_docs(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data/export").mkdir(parents=True)
    for form in ("parquet", "csv", "npz"):
        (tmp_path / "data/export" / form).symlink_to(written(form, small))
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(
        r"```python\n(.*?)```", (PROJECT_ROOT / "docs/exports.md").read_text(), re.S
    )
    table = read_table(small).set_index(["hour_ts", "symbol"]).sort_index()
    bitcoin = table.xs("BTCUSDT", level="symbol")["close"]
    results = []
    for block in blocks:
        if "import qlib" not in block:
            names: dict[str, object] = {}
            exec(block, names)
            results.append(names)
    parquet, csv, npz = results
    np.testing.assert_array_equal(parquet["frame"]["close"], table["close"])
    np.testing.assert_array_equal(csv["frame"]["close"], bitcoin)
    np.testing.assert_array_equal(npz["close"], bitcoin.to_numpy().astype("float32"))
