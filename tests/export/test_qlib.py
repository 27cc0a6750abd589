"""An export as qlib, read by Qlib itself.

Qlib pins packages of its own, so it has an environment of its own: `make qlib` makes it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

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


def snippets() -> list[str]:
    """What docs/exports.md says to do with an export."""
    text = (PROJECT_ROOT / "docs/exports.md").read_text(encoding="utf-8")
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


def read_by_qlib(python: Path, folder: Path, beside: Path) -> dict[str, Any]:
    """What Qlib says of an export, and what the snippet of the docs leaves."""
    (beside / "data/export").mkdir(parents=True)
    (beside / "data/export/qlib").symlink_to(folder)
    (snippet,) = (s for s in snippets() if "import qlib" in s)
    (beside / "snippet.py").write_text(snippet)
    script = Path(__file__).with_name("qlib_reader.py")
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    result = subprocess.run(
        [python, script, folder, "snippet.py", "found.json"],
        cwd=beside,
        env=environment,  # compiled once, Qlib is imported in a third of the time
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    found: dict[str, Any] = json.loads((beside / "found.json").read_text(encoding="utf-8"))
    return found


def test_qlib_reads_what_the_table_holds(small: Path, qlib_python: Path, tmp_path: Path) -> None:
    folder = written("qlib", small)
    found = read_by_qlib(qlib_python, folder, tmp_path)
    table = read_table(small).rename(columns=str.lower)
    hours = pd.date_range(table["hour_ts"].min(), table["hour_ts"].max(), freq="h")
    assert found["calendar"] == [str(hour) for hour in hours]
    for symbol, rows in table.groupby("symbol"):
        spans = [
            [str(hours.min()), str(hours.max())]
            for _, hours in rows.groupby("listing_segment")["hour_ts"]
        ]
        assert found["spans"][symbol] == spans
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
    first_days = expected["close"][expected.index.get_level_values(1) < "2024-01-03"]
    np.testing.assert_array_equal(
        np.array(found["snippet"], "float32"), first_days.to_numpy().astype("float32")
    )


def test_other_snippets_of_the_docs(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data/export").mkdir(parents=True)
    for form in ("parquet", "csv", "npz"):
        (tmp_path / "data/export" / form).symlink_to(written(form, small))
    monkeypatch.chdir(tmp_path)
    table = read_table(small).set_index(["hour_ts", "symbol"]).sort_index()
    bitcoin = table.xs("BTCUSDT", level="symbol")["close"]
    results = []
    for block in snippets():
        if "import qlib" not in block:
            names: dict[str, object] = {}
            exec(block, names)
            results.append(names)
    parquet, csv, npz = results
    np.testing.assert_array_equal(parquet["frame"]["close"], table["close"])
    np.testing.assert_array_equal(csv["frame"]["close"], bitcoin)
    np.testing.assert_array_equal(npz["close"], bitcoin.to_numpy().astype("float32"))
