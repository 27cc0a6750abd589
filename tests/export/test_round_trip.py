"""What is read back from an export is what the table holds."""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.export.formats import QLIB_FIELDS
from tests.conftest import Warehouse
from tests.export.tables import (
    FACTORS,
    LISTINGS,
    Listing,
    read_qlib,
    read_table,
    rows_of,
    write_table,
    written,
)

KEYS = ["symbol", "datetime", "bar_end_time", "feature_time"]
NUMBERS = ["has_bar", "listing_segment", *FACTORS, "trade_count", "is_stable"]
NUMBERS += ["trade_allowed", "is_valid_for_training"]


@pytest.fixture(scope="module")
def parquet(small: Path) -> Path:
    return written("parquet", small) / "final_dataset_all.parquet"


@pytest.fixture(scope="module")
def npz(small: Path) -> Path:
    return written("npz", small) / "panel.npz"


def pivoted(frame: pd.DataFrame, names: list[str]) -> np.ndarray:
    """A long table as (time, feature, symbol), float32."""
    hours = pd.date_range(frame["datetime"].min(), frame["datetime"].max(), freq="h")
    symbols = sorted(frame["symbol"].unique())
    wide = frame.pivot(index="datetime", columns="symbol", values=names)
    columns = pd.MultiIndex.from_product([names, symbols])
    values = wide.reindex(index=hours, columns=columns).to_numpy("float64")
    return values.astype("float32").reshape(len(hours), len(names), len(symbols))


def test_parquet_is_the_table(small: Path, parquet: Path) -> None:
    table = pq.read_table(parquet)
    assert table.column_names == [*KEYS, *NUMBERS[:10], "bar_source", *NUMBERS[10:]]
    frame = table.to_pandas()
    expected = read_table(small)
    assert (frame["symbol"].to_numpy() == expected["symbol"].to_numpy()).all()
    for name in KEYS[1:]:
        held = "hour_ts" if name == "datetime" else name
        assert (frame[name].to_numpy() == expected[held].to_numpy()).all()
    for name in NUMBERS:
        np.testing.assert_array_equal(frame[name].astype("float64"), expected[name])
    assert list(frame["bar_source"]) == list(expected["bar_source"])
    kinds = {name: str(table.schema.field(name).type) for name in table.column_names}
    assert kinds["is_stable"] == "bool"
    assert kinds["trade_count"] == "int64"
    assert kinds["datetime"] == "timestamp[us]"
    file = pq.ParquetFile(parquet)
    assert file.metadata.row_group(0).column(5).compression == "ZSTD"
    assert file.metadata.num_row_groups == 5  # a reader of one symbol skips the others
    file.close()


def test_panel_is_the_parquet_file_pivoted(parquet: Path, npz: Path) -> None:
    frame = pd.read_parquet(parquet)
    with np.load(npz) as panel:
        assert list(panel["features"]) == NUMBERS
        assert list(panel["symbols"]) == sorted({s.symbol for s in LISTINGS})
        assert panel["datetime"].dtype == "datetime64[ns]"
        hours = pd.date_range(frame["datetime"].min(), frame["datetime"].max(), freq="h")
        assert (panel["datetime"] == hours.to_numpy()).all()
        known = frame[["datetime", "feature_time"]].drop_duplicates().set_index("datetime")
        used = pd.Series(panel["feature_time"], index=panel["datetime"])[known.index]
        assert (used == known["feature_time"]).all()
        data = panel["data"]
    assert data.dtype == np.float32
    np.testing.assert_array_equal(data, pivoted(frame, NUMBERS))


def test_panel_does_not_depend_on_the_size_of_blocks(
    small: Path, npz: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("ingest.export.formats.BLOCK_BYTES", 7 * 4 * len(NUMBERS) * 5)
    monkeypatch.setattr("ingest.export.source.BLOCK_BYTES", 1)
    (tmp_path / "w.duckdb").symlink_to(small)
    again = written("npz", tmp_path / "w.duckdb") / "panel.npz"
    assert again.read_bytes() == npz.read_bytes()
    one = written("qlib", tmp_path / "w.duckdb")
    monkeypatch.undo()
    other = written("qlib", small)
    facts = [json.loads((folder / "export.json").read_text()) for folder in (one, other)]
    assert facts[0]["sha256"] == facts[1]["sha256"]


def test_csv_is_the_table(small: Path) -> None:
    folder = written("csv", small)
    table = read_table(small)
    names = {p.name for p in (folder / "1h").iterdir()}
    assert names == {f"{s.symbol}_1h.csv" for s in LISTINGS}
    for symbol, expected in table.groupby("symbol"):
        path = folder / "1h" / f"{symbol}_1h.csv"
        frame = pd.read_csv(path, parse_dates=["datetime"])
        assert list(frame) == ["datetime", *NUMBERS]
        assert (frame["datetime"].to_numpy() == expected["hour_ts"].to_numpy()).all()
        for name in NUMBERS:
            np.testing.assert_array_equal(frame[name].astype("float64"), expected[name])


def read_as_crypto_data(
    data_dir: Path, symbols: list[str], start: str, end: str, features: list[str]
) -> tuple[np.ndarray, pd.DatetimeIndex, list[str]]:
    """The reader of the AlphaQCM crypto fork, as consumers.md describes it."""
    frames = {}
    for symbol in symbols:
        candidates = [data_dir / f"{symbol}_1h.csv", data_dir / f"{symbol}_train.csv"]
        path = next((p for p in candidates if p.exists()), None)
        if path is None:
            continue
        frame = pd.read_csv(path, usecols=["datetime", *features], parse_dates=["datetime"])
        frame = frame.set_index("datetime")
        frame.index = pd.to_datetime(frame.index, utc=True)
        frame = frame[(frame.index >= start) & (frame.index <= end)]
        if len(frame):
            frames[symbol] = frame
    every = pd.Series(0, index=sorted(set().union(*(f.index for f in frames.values()))))
    for frame in frames.values():
        every[frame.index] += 1
    times = every[every >= max(1, len(frames) // 2)].index
    data = np.full((len(times), len(features), len(frames)), np.nan, dtype=np.float32)
    for place, frame in enumerate(frames.values()):
        filled = frame.reindex(times).ffill()
        for number, name in enumerate(features):
            data[:, number, place] = pd.to_numeric(filled[name], errors="coerce")
    data[~np.isfinite(data)] = np.nan
    return data, times, list(frames)


def test_csv_is_read_by_the_crypto_forks(small: Path) -> None:
    folder = written("csv", small) / "1h"
    symbols = sorted({s.symbol for s in LISTINGS})
    features = ["open", "vwap", "is_stable"]
    data, times, found = read_as_crypto_data(
        folder, symbols, "2024-01-01", "2024-01-02 12:00", features
    )
    assert found == symbols
    assert times[0] == pd.Timestamp("2024-01-01", tz="UTC")
    table = read_table(small, "symbol = 'BTCUSDT' and hour_ts <= '2024-01-02 12:00'")
    expected = table[features].ffill().to_numpy().astype("float32")
    np.testing.assert_array_equal(data[:, :, symbols.index("BTCUSDT")], expected)


def test_csv_with_a_mask_is_for_training(small: Path) -> None:
    folder = written("csv", small, mask="is_valid_for_training", symbols=["BTCUSDT"])
    assert [p.name for p in (folder / "1h").iterdir()] == ["BTCUSDT_train.csv"]
    frame = pd.read_csv(folder / "1h" / "BTCUSDT_train.csv", parse_dates=["datetime"])
    expected = read_table(small, "symbol = 'BTCUSDT' and is_valid_for_training = 1")
    assert (frame["datetime"].to_numpy() == expected["hour_ts"].to_numpy()).all()
    header = (folder / "1h" / "BTCUSDT_train.csv").read_text().splitlines()[0].split(",")
    assert header[0] == "datetime"  # all that follow are features for the forks
    assert "bar_source" not in header
    assert "symbol" not in header


def check_qlib(folder: Path, table: pd.DataFrame, names: list[str]) -> None:
    """Each field of each instrument holds the table's values, and NaN where it has none."""
    series = read_qlib(folder)
    symbols = set(table["symbol"])
    assert set(series) == {(s, name.lower()) for s in symbols for name in names}
    hours = pd.date_range(table["hour_ts"].min(), table["hour_ts"].max(), freq="h")
    calendar = (folder / "calendars/60min.txt").read_text().splitlines()
    assert calendar == [str(hour) for hour in hours]
    for symbol, rows in table.groupby("symbol"):
        for name in names:
            held = series[symbol, name.lower()].reindex(hours).to_numpy()
            expected = rows.set_index("hour_ts")[name].reindex(hours).to_numpy()
            np.testing.assert_array_equal(held, expected.astype("float32"))


def test_qlib_files_hold_the_table(small: Path) -> None:
    folder = written("qlib", small)
    check_qlib(folder, read_table(small), NUMBERS)
    lines = (folder / "instruments/all.txt").read_text(encoding="utf-8").splitlines()
    spans = [line.split("\t") for line in lines]
    assert ["LUNAUSDT", "2024-01-01 00:00:00", "2024-01-01 11:00:00"] in spans
    assert ["LUNAUSDT", "2024-01-02 16:00:00", "2024-01-03 11:00:00"] in spans
    assert ["1000PEPEUSDT", "2024-01-01 20:00:00", "2024-01-03 11:00:00"] in spans
    assert len(spans) == len(LISTINGS)


def test_mask_leaves_holes_in_dense_formats_and_spans_as_they_are(small: Path) -> None:
    masked = read_table(small)
    masked.loc[masked["trade_allowed"] != 1, NUMBERS] = np.nan
    folder = written("qlib", small, mask="trade_allowed", columns=["trade_count"])
    check_qlib(folder, masked, [*QLIB_FIELDS, "trade_count"])
    spans = (folder / "instruments/all.txt").read_text(encoding="utf-8").splitlines()
    assert len(spans) == len(LISTINGS)
    with np.load(written("npz", small, mask="trade_allowed") / "panel.npz") as panel:
        expected = pivoted(masked.rename(columns={"hour_ts": "datetime"}), NUMBERS)
        np.testing.assert_array_equal(panel["data"], expected)


def test_symbols_and_days_can_be_chosen(small: Path) -> None:
    wish = {
        "symbols": ["币安人生USDT", "WAVESUSDT"],
        "start": date(2024, 1, 2),
        "end": date(2024, 1, 2),
        "columns": ["close"],
    }
    folder = written("qlib", small, **wish)
    condition = "symbol in ('币安人生USDT', 'WAVESUSDT') and hour_ts::date = '2024-01-02'"
    check_qlib(folder, read_table(small, condition), [*QLIB_FIELDS])
    frame = pd.read_parquet(written("parquet", small, **wish) / "final_dataset_all.parquet")
    assert list(frame) == [*KEYS, "close"]
    assert frame["datetime"].min() == pd.Timestamp("2024-01-02")
    assert frame["datetime"].max() == pd.Timestamp("2024-01-02 23:00")
    assert list(frame["symbol"].unique()) == ["WAVESUSDT", "币安人生USDT"]


@st.composite
def markets(draw: st.DrawFn) -> list[Listing]:
    """Contracts with random spans; a name may be used twice."""
    listings = []
    for number in range(draw(st.integers(1, 4))):
        ends = sorted(draw(st.sets(st.integers(0, 80), min_size=2, max_size=4)))
        for segment, (first, end) in enumerate(zip(ends[::2], ends[1::2], strict=False), 1):
            listings.append(Listing(f"S{number}USDT", first, end, segment))
    return listings


@given(listings=markets(), seed=st.integers(0, 2**31))
@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_market_comes_back(
    listings: list[Listing], seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Values are equal at float32, and NaN, never 0, stands for NULL and outside of the spans."""
    random = np.random.default_rng(seed)
    frame = pd.concat([rows_of(listing, random) for listing in listings])
    kept = random.random(len(frame)) > 0.05  # hours that the table does not have
    kept[0] = True
    warehouse = write_table(tmp_path_factory.mktemp("market") / "w.duckdb", frame[kept])
    table = read_table(warehouse)
    names = ["close", "trade_count", "is_stable"]
    folder = written("qlib", warehouse, columns=names)
    check_qlib(folder, table, [*QLIB_FIELDS, *names[1:]])
    with np.load(written("npz", warehouse, columns=names) / "panel.npz") as panel:
        expected = pivoted(table.rename(columns={"hour_ts": "datetime"}), names)
        np.testing.assert_array_equal(panel["data"], expected)
    listed = pd.Series(False, index=table.set_index(["symbol", "hour_ts"]).index)
    for (symbol, _), values in read_qlib(folder).items():
        outside = ~values.index.isin(listed[symbol].index)
        assert values[outside].isna().all()


def test_the_whole_wide_table_of_the_sandbox(sandbox: Warehouse, tmp_path: Path) -> None:
    """All columns, three symbols; among them a name that two contracts had."""
    (tmp_path / "w.duckdb").symlink_to(sandbox.path)
    symbols = ["BTCUSDT", "ICPUSDT", "币安人生USDT"]
    wish = {"symbols": symbols}
    frame = pd.read_parquet(
        written("parquet", tmp_path / "w.duckdb", **wish) / "final_dataset_all.parquet"
    )
    assert len(frame.columns) == len(sandbox.read("select * from final_dataset limit 1").columns)
    assert (frame["feature_time"] == frame["datetime"] + timedelta(hours=1, milliseconds=1)).all()
    with np.load(written("npz", tmp_path / "w.duckdb", **wish) / "panel.npz") as panel:
        names = list(panel["features"])
        assert set(frame) - set(names) - set(KEYS) == {
            "bar_source", "bar_origin", "funding_source", "oi_source", "setup_source"
        }  # fmt: skip
        np.testing.assert_array_equal(panel["data"], pivoted(frame, names))
    manifest = json.loads((tmp_path / "npz" / "export.json").read_text(encoding="utf-8"))
    assert [c["name"] for c in manifest["columns"]] == names
    assert all(c["meaning"] for c in manifest["columns"])
    assert all(c["family"] for c in manifest["columns"][2:])  # after has_bar, listing_segment
    assert len(manifest["listed"]["ICPUSDT"]) == 2
