"""Tick files become minutes and trade sizes: equal to the reference, or refused."""

from __future__ import annotations

import io
import tempfile
import zipfile
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.datasets import VISION
from ingest.errors import PerpError, Quarantine
from ingest.lake import FileRecord
from ingest.ticks import Layers, reduce_zip
from tests.mirror import put_zip, require_real_data
from tests.reference import tick_minutes, trade_sizes
from tests.reference.order_flow import sound_ticks

NAMES = VISION["agg_trades"].schema.names
HEADER = "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker"
OLD_HEADER = HEADER.replace("quantity", "qty")
UNITS = {"ms": 10**6, "us": 10**3, "ns": 1}  # in nanoseconds
T0 = pd.Timestamp("2024-01-30 22:00")
BAD = (0.0, -1.0, np.nan, np.inf, -np.inf)


# ------------------------------------------------------------------------------------ the tools
def tape(*rows: tuple[float, float, str], first_id: int = 1, step_ms: int = 1) -> pd.DataFrame:
    """Ticks of (price, quantity, side) with ids and times one after the other."""
    frame = pd.DataFrame(rows, columns=["price", "quantity", "side"])
    frame["agg_trade_id"] = frame["first_trade_id"] = frame["last_trade_id"] = (
        np.arange(len(frame)) + first_id
    )
    frame["transact_time"] = T0 + pd.to_timedelta(np.arange(len(frame)) * step_ms, "ms")
    frame["is_buyer_maker"] = frame["side"] == "S"
    return typed(frame)


def typed(frame: pd.DataFrame) -> pd.DataFrame:
    kinds = {"price": "float64", "quantity": "float64", "transact_time": "datetime64[us]"}
    return frame[NAMES].astype(kinds).reset_index(drop=True)


def random_tape(rng: np.random.Generator, n: int, *, holes: bool = False) -> pd.DataFrame:
    """Ticks in id and time order over five hours and a midnight; milliseconds hold several."""
    steps = rng.choice([1, 1, 1, 4], n) if holes else np.ones(n, "int64")
    times = np.sort(rng.choice(rng.integers(0, 5 * 3_600_000, n // 2 + 1), n))
    first = 3 * np.arange(n) + 7
    frame = pd.DataFrame({"agg_trade_id": 1000 + np.cumsum(steps)})
    frame["price"] = np.round(10 ** rng.uniform(-7, 5, n), 8) + 1e-8
    frame["quantity"] = np.round(10 ** rng.uniform(-3, 6, n), 3) + 0.001
    frame["first_trade_id"], frame["last_trade_id"] = first, first + rng.integers(0, 3, n)
    frame["transact_time"] = T0 + pd.to_timedelta(times, "ms")
    frame["is_buyer_maker"] = rng.random(n) < 0.5
    return typed(frame)


def spoiled(rng: np.random.Generator, frame: pd.DataFrame, share: float) -> pd.DataFrame:
    """Some prices and quantities are bad."""
    out = frame.copy()
    for column in ("price", "quantity"):
        where = rng.random(len(out)) < share
        out.loc[where, column] = rng.choice(BAD, where.sum())
    return out


def repeated(
    rng: np.random.Generator, frame: pd.DataFrame, share: float, *, conflicting: bool
) -> pd.DataFrame:
    """Some ids stand a second time, in equal rows or (of other size) in the same minute."""
    finite = np.isfinite(frame["price"]) & np.isfinite(frame["quantity"])
    again = frame[finite & (rng.random(len(frame)) < share)].copy()
    if conflicting:
        again["quantity"] += 1
    return typed(pd.concat([frame, again]).sort_values("agg_trade_id", kind="stable"))


def reordered(rng: np.random.Generator, frame: pd.DataFrame, order: str) -> pd.DataFrame:
    n = len(frame)
    places = {
        "ordered": np.arange(n),
        "reversed": np.arange(n)[::-1],
        "shuffled": rng.permutation(n),
        "interleaved": np.argsort(np.arange(n) % (n // 2 + 1), kind="stable"),
    }
    return frame.iloc[places[order]].reset_index(drop=True)


def csv_of(frame: pd.DataFrame, header: str | None = HEADER, unit: str = "ms") -> bytes:
    out = frame.copy()
    out["transact_time"] = [t.value // UNITS[unit] for t in frame["transact_time"]]
    for column in ("price", "quantity"):
        out[column] = [repr(float(x)) for x in frame[column]]
    out["is_buyer_maker"] = ["true" if x else "false" for x in frame["is_buyer_maker"]]
    text = out.to_csv(header=False, index=False)
    return (f"{header}\n{text}" if header else text).encode()


def reduce(
    folder: Path, csv: bytes, period: str = "2024-01", keep: Path | None = None
) -> tuple[Layers, FileRecord]:
    key = f"AAAUSDT-aggTrades-{period}.zip"
    return reduce_file(put_zip(folder, key, csv), period, keep)


def reduce_file(
    path: Path, period: str = "2024-01", keep: Path | None = None
) -> tuple[Layers, FileRecord]:
    scratch = path.parent / "scratch"
    scratch.mkdir(exist_ok=True)
    record = FileRecord("https://example/file.zip", period, "landed")
    return reduce_zip(path, record, scratch, keep), record


def reference_ticks(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(symbol="AAA", file="one")


def check_layers(layers: Layers, frame: pd.DataFrame) -> None:
    """The layers are the reference's tables of the file's ticks."""
    ticks = reference_ticks(frame)
    tables = {
        "agg_trades_1m": (layers.minutes, tick_minutes(ticks)),
        "agg_trade_sizes_1h": (layers.sizes, trade_sizes(ticks)),
    }
    for name, (got, want) in tables.items():
        assert got.schema == VISION[name].schema
        got.validate(full=True)
        assert got.num_rows == len(want), name
        for field in got.schema:
            assert field.nullable or got[field.name].null_count == 0, field.name
            if pa.types.is_floating(field.type):
                # NULL is NULL and never NaN
                assert not pc.any(pc.is_nan(got[field.name]), min_count=0).as_py(), field.name
                values = got[field.name].to_pandas().to_numpy()
                np.testing.assert_allclose(values, want[field.name], rtol=1e-12, err_msg=field.name)
            elif field.name == "quote":
                flat = [x for part in got["quote"].to_pylist() for x in part]
                expected = [x for part in want["quote"] for x in part]
                np.testing.assert_allclose(flat, expected, rtol=1e-12)
            else:
                assert got[field.name].to_pylist() == want[field.name].tolist(), field.name


def check_record(record: FileRecord, frame: pd.DataFrame, *, out_of_period: int = 0) -> None:
    """The record accounts for every row of the file; `frame` holds those of the period."""
    minutes = tick_minutes(reference_ticks(frame))
    sound, bad = sound_ticks(reference_ticks(frame))
    kept = len(sound) + len(bad)
    ids = frame["agg_trade_id"]
    assert record.rows_in == len(frame) + out_of_period
    assert record.rows_out == kept
    assert record.out_of_period_dropped == out_of_period
    assert record.duplicates_dropped + record.conflicts_dropped == len(frame) - kept
    assert record.duplicates_dropped == frame.duplicated().sum()
    assert record.out_of_order == minutes["n_out_of_order"].sum()
    assert record.bad_rows == len(bad)
    assert record.missing_ids == ids.max() - ids.min() + 1 - kept
    times = frame["transact_time"]
    assert datetime.fromisoformat(record.first_time) == times.min()
    assert datetime.fromisoformat(record.last_time) == times.max()


# -------------------------------------------------------------------------------- the properties
@settings(max_examples=50, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 80),
    order=st.sampled_from(["ordered", "reversed", "shuffled", "interleaved"]),
    holes=st.booleans(),
    bad=st.sampled_from([0, 0.1, 0.5]),
    again=st.sampled_from([0, 0.1, 1]),
    conflicting=st.booleans(),
    header=st.sampled_from([None, HEADER, OLD_HEADER]),
    unit=st.sampled_from(list(UNITS)),
)
def test_layers_equal_the_reference(
    seed, n, order, holes, bad, again, conflicting, header, unit
) -> None:
    rng = np.random.default_rng(seed)
    frame = spoiled(rng, random_tape(rng, n, holes=holes), bad)
    frame = reordered(rng, repeated(rng, frame, again, conflicting=conflicting), order)
    with tempfile.TemporaryDirectory() as folder:
        layers, record = reduce(Path(folder), csv_of(frame, header, unit))
    check_layers(layers, frame)
    check_record(record, frame)
    assert (record.header_present, record.epoch_unit) == (header is not None, unit)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 400), bad=st.sampled_from([0, 0.2]))
def test_the_order_of_the_file_does_not_matter(seed, n, bad) -> None:
    rng = np.random.default_rng(seed)
    frame = spoiled(rng, random_tape(rng, n, holes=True), bad)
    frame = repeated(rng, frame, 0.2, conflicting=False)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for order in ("ordered", "shuffled", "reversed", "interleaved"):
            layers, _ = reduce(Path(folder), csv_of(reordered(rng, frame, order)))
            found.append((layers.minutes.drop_columns(["n_out_of_order"]), layers.sizes))
    for minutes, sizes in found[1:]:
        assert minutes.equals(found[0][0]), "bit-identical"
        assert sizes.equals(found[0][1]), "bit-identical"


@pytest.mark.parametrize("order", ["ordered", "shuffled", "interleaved"])
def test_a_file_of_many_blocks(tmp_path: Path, order: str) -> None:
    rng = np.random.default_rng(11)
    frame = spoiled(rng, random_tape(rng, 200_000, holes=True), 0.001)
    frame = reordered(rng, repeated(rng, frame, 0.01, conflicting=False), order)
    layers, record = reduce(tmp_path, csv_of(frame), keep=tmp_path / "ticks.parquet")
    check_layers(layers, frame)
    check_record(record, frame)
    ids = pq.read_table(tmp_path / "ticks.parquet")["agg_trade_id"].to_pylist()
    assert ids == sorted(set(frame["agg_trade_id"]))


def test_layers_are_ordered(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    layers, _ = reduce(tmp_path, csv_of(reordered(rng, random_tape(rng, 500), "shuffled")))
    times = layers.minutes["minute_ts"].to_pylist()
    assert times == sorted(set(times))
    keys = list(zip(*layers.sizes.select(["hour_ts", "side"]).to_pydict().values(), strict=True))
    assert keys == sorted(set(keys))
    assert len(keys) == 10
    assert all(bins == sorted(set(bins)) for bins in layers.sizes["bin"].to_pylist())


# ------------------------------------------------------------------------------------- the ticks
@pytest.mark.parametrize("order", ["ordered", "shuffled"])
def test_kept_ticks(tmp_path: Path, order: str) -> None:
    rng = np.random.default_rng(4)
    frame = spoiled(rng, random_tape(rng, 300, holes=True), 0.1)
    frame = reordered(rng, repeated(rng, frame, 0.2, conflicting=True), order)
    path = tmp_path / "ticks.parquet"
    reduce(tmp_path, csv_of(frame), keep=path)
    got = pq.read_table(path)
    assert got.schema.remove_metadata() == VISION["agg_trades"].schema
    want = typed(frame.drop_duplicates("agg_trade_id").sort_values("agg_trade_id"))
    pd.testing.assert_frame_equal(typed(got.to_pandas()), want)


def test_nothing_is_kept_unasked(tmp_path: Path) -> None:
    reduce(tmp_path, csv_of(tape((1, 1, "B"))))
    assert list(tmp_path.rglob("*.parquet")) == []


# ----------------------------------------------------------------------------------- by hand
def test_one_row(tmp_path: Path) -> None:
    frame = tape((10, 2, "S"))
    layers, record = reduce(tmp_path, csv_of(frame))
    check_layers(layers, frame)
    check_record(record, frame)
    (row,) = layers.minutes.to_pylist()
    assert (row["sell_quote"], row["sell_max_quote"], row["buy_max_quote"]) == (20, 20, None)
    assert layers.sizes.to_pylist() == [
        {"hour_ts": T0, "side": "S", "bin": [13], "n": [1], "quote": [20]}
    ]


@pytest.mark.parametrize("csv", [HEADER, f"{HEADER}\n", f"{OLD_HEADER}\n", f"{HEADER}\r\n"])
def test_a_header_alone_is_no_ticks(tmp_path: Path, csv: str) -> None:
    layers, record = reduce(tmp_path, csv.encode())
    assert layers.minutes.equals(VISION["agg_trades_1m"].schema.empty_table())
    assert layers.sizes.equals(VISION["agg_trade_sizes_1h"].schema.empty_table())
    assert (record.rows_in, record.rows_out, record.missing_ids) == (0, 0, 0)
    assert (record.header_present, record.first_time, record.last_time) == (True, None, None)


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("column", ["price", "quantity"])
def test_all_ticks_bad(tmp_path: Path, bad: float, column: str) -> None:
    frame = tape((10, 2, "S"), (10, 2, "B"), (10, 2, "B"), step_ms=40_000)
    frame[column] = bad
    layers, record = reduce(tmp_path, csv_of(frame))
    check_layers(layers, frame)
    check_record(record, frame)
    assert layers.minutes["n_bad"].to_pylist() == [2, 1]
    assert layers.minutes["price_first"].null_count == 2
    assert layers.sizes.num_rows == 0


def test_ids_missing_between_the_outer_ones(tmp_path: Path) -> None:
    frame = tape(*[(10, 1, "B")] * 4)
    frame["agg_trade_id"] = [100, 7, 9, 8]
    _, record = reduce(tmp_path, csv_of(frame))
    assert record.missing_ids == 90
    assert record.out_of_order == 3


def test_a_hole_in_the_raw_ids_is_no_missing_id(tmp_path: Path) -> None:
    frame = tape((10, 1, "B"), (10, 1, "B"))
    frame["first_trade_id"], frame["last_trade_id"] = [5, 50], [7, 50]
    layers, record = reduce(tmp_path, csv_of(frame))
    assert record.missing_ids == 0
    assert layers.minutes["raw_trade_count"].to_pylist() == [4]


def test_within_a_millisecond_the_ids_decide(tmp_path: Path) -> None:
    frame = tape((30, 1, "B"), (10, 1, "B"), (20, 1, "B"), step_ms=0)
    layers, _ = reduce(tmp_path, csv_of(frame.iloc[[1, 2, 0]]))
    (row,) = layers.minutes.to_pylist()
    assert (row["price_first"], row["price_last"]) == (30, 20)
    assert (row["price_high"], row["price_low"]) == (30, 10)
    assert row["n_out_of_order"] == 1


def test_ids_decide_against_the_clock(tmp_path: Path) -> None:
    frame = tape((30, 1, "B"), (10, 1, "B"), (20, 1, "B"), step_ms=10_000)
    frame["agg_trade_id"] = [2, 3, 1]
    layers, _ = reduce(tmp_path, csv_of(frame))
    check_layers(layers, frame)
    (row,) = layers.minutes.to_pylist()
    assert (row["price_first"], row["price_last"]) == (20, 10)
    assert row["first_transact_time"] > row["last_transact_time"]


def test_the_first_of_conflicting_rows_counts(tmp_path: Path) -> None:
    frame = tape((10, 1, "B"), (10, 5, "S"), (10, 9, "S"))
    frame["agg_trade_id"] = [2, 1, 1]
    layers, record = reduce(tmp_path, csv_of(frame))
    check_layers(layers, frame)
    assert layers.minutes["sell_qty"].to_pylist() == [5]
    assert (record.duplicates_dropped, record.conflicts_dropped) == (0, 1)
    assert record.out_of_order == 2, "rows dropped as duplicates included"


def test_a_minute_in_which_only_a_duplicate_fell(tmp_path: Path) -> None:
    frame = tape((10, 1, "B"), (10, 5, "S"), step_ms=60_000)
    frame["agg_trade_id"] = 1
    layers, record = reduce(tmp_path, csv_of(frame))
    counts = layers.minutes.select(["trade_count", "n_duplicates", "first_agg_trade_id"])
    assert [list(row.values()) for row in counts.to_pylist()] == [[1, 0, 1], [0, 1, None]]
    assert (record.rows_out, record.conflicts_dropped, record.missing_ids) == (1, 1, 0)


@pytest.mark.parametrize("text", ["1e-7", "1E-7", "1.0e-07", "0.0000001"])
def test_numbers_with_exponents(tmp_path: Path, text: str) -> None:
    frame = tape((1e-7, 1e7, "B"))
    csv = csv_of(frame, None).decode().replace("1e-07", text).replace("10000000.0", "1e7")
    assert text in csv
    layers, _ = reduce(tmp_path, csv.encode())
    check_layers(layers, frame)


QUOTES = [(0.01, -1), (0.999, -1), (1, 0), (10, 10), (999.999, 29), (1000, 30), (9.9e7, 79),
          (1000 * (1 - 1e-12), 30), (1000 * (1 - 1e-8), 29), (10**4.7 * (1 - 1e-12), 47),
          (1e8, 80), (1e12, 80), *((10 ** (k / 10), k) for k in range(81))]  # fmt: skip


def test_edges_of_the_bins(tmp_path: Path) -> None:
    for quote, size in QUOTES:
        for price, quantity in ((quote, 1), (1, quote)):
            layers, _ = reduce(tmp_path, csv_of(tape((price, quantity, "B"))))
            assert layers.sizes["bin"].to_pylist() == [[size]], quote


def test_rows_outside_the_period_are_left_out(tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    frame = random_tape(rng, 400)  # from the evening of the 30th into the 31st
    inside = frame["transact_time"] >= pd.Timestamp("2024-01-31")
    assert inside.nunique() == 2
    for period, rows in (("2024-01-31", frame[inside]), ("2024-01-30", frame[~inside])):
        layers, record = reduce(tmp_path, csv_of(frame), period)
        check_layers(layers, rows)
        check_record(record, rows, out_of_period=len(frame) - len(rows))


def test_a_day_ends_with_its_last_millisecond(tmp_path: Path) -> None:
    frame = tape(*[(10, 1, "B")] * 4)
    midnight = pd.Timestamp("2024-01-31")
    ms = pd.Timedelta(milliseconds=1)
    frame["transact_time"] = [midnight - ms, midnight, midnight + 86_400_000 * ms - ms,
                              midnight + 86_400_000 * ms]  # fmt: skip
    layers, record = reduce(tmp_path, csv_of(frame), "2024-01-31")
    assert layers.minutes["first_agg_trade_id"].to_pylist() == [2, 3]
    assert (record.rows_in, record.rows_out, record.out_of_period_dropped) == (4, 2, 2)


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("booleans", [("true", "false"), ("True", "False")])
@pytest.mark.parametrize("ending", ["", "\n"])
def test_layouts_of_one_file_read_alike(tmp_path: Path, newline, booleans, ending) -> None:
    frame = tape((10, 1, "B"), (11, 2, "S"))
    lines = csv_of(frame).decode().splitlines()
    csv = newline.join(lines) + ending.replace("\n", newline)
    csv = csv.replace("true", booleans[0]).replace("false", booleans[1])
    layers, record = reduce(tmp_path, csv.encode())
    check_layers(layers, frame)
    check_record(record, frame)


# ------------------------------------------------------------------------------------ refused
GOOD = csv_of(tape((10.5, 2.5, "B"), (11.5, 3.5, "S"), (12.5, 4.5, "S")), None).decode()
US = csv_of(tape((13.5, 2.5, "B"), first_id=4), None, "us").decode()


@pytest.mark.parametrize(
    "csv",
    [
        GOOD.replace("11.5", ""),
        GOOD.replace("3.5", ""),
        GOOD.replace("false", "", 1),
        GOOD.replace("11.5", "eleven"),
        GOOD.replace("2,11.5", "two,11.5"),
        GOOD.replace("2,11.5", "2.5,11.5"),
        GOOD.replace("false", "maybe", 1),
        "\n".join(line.rpartition(",")[0] for line in GOOD.splitlines()),
        "\n".join(f"{line},true" for line in GOOD.splitlines()),
        GOOD + "4,10.5,2.5\n",
        GOOD + US,
        US + GOOD,
        f"id,{HEADER}\n{GOOD}",
        GOOD.replace("11.5", "\0"),
        GOOD.replace(str(T0.value // 1_000_000), "17"),
    ],
    ids=["no price", "no quantity", "no side", "text price", "text id", "id 2.5", "side maybe",
         "six columns", "eight columns", "torn line", "ms then us", "us then ms", "header", "NUL",
         "epoch 17"],
)  # fmt: skip
def test_refused_content(tmp_path: Path, csv: str) -> None:
    with pytest.raises(Quarantine):
        reduce(tmp_path, csv.encode())


@pytest.mark.parametrize("period", ["2024-02", "2023-12", "2024-01-29", "2024-02-01"])
def test_no_row_in_the_period(tmp_path: Path, period: str) -> None:
    with pytest.raises(Quarantine, match=period):
        reduce(tmp_path, GOOD.encode(), period)


def long_file(folder: Path) -> Path:
    rng = np.random.default_rng(8)
    return put_zip(folder, "AAAUSDT-aggTrades-2024-01.zip", csv_of(random_tape(rng, 5000)))


def test_damaged_deflate_stream(tmp_path: Path) -> None:
    path = long_file(tmp_path)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 64] = b"\xff" * 64
    path.write_bytes(content)
    with pytest.raises(Quarantine):
        reduce_file(path)


def test_wrong_checksum_in_the_directory_of_the_zip(tmp_path: Path) -> None:
    path = long_file(tmp_path)
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 16] ^= 1
    path.write_bytes(content)
    with pytest.raises(Quarantine):
        reduce_file(path)


@pytest.mark.parametrize("share", [0.1, 0.9, 0.999])
def test_torn_zip(tmp_path: Path, share: float) -> None:
    path = long_file(tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(Quarantine):
        reduce_file(path)


def test_no_zip_and_two_members(tmp_path: Path) -> None:
    path = tmp_path / "file.zip"
    path.write_bytes(b"<html>not found</html>")
    with pytest.raises(Quarantine):
        reduce_file(path)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.csv", GOOD)
        archive.writestr("b.csv", GOOD)
    path.write_bytes(buffer.getvalue())
    with pytest.raises(Quarantine):
        reduce_file(path)


@pytest.mark.parametrize("ending", ["9000,x,1,1,1,1706652000000,true\n", "9000,1,1\n", "line\n"])
def test_bad_rows_far_behind_disorder(tmp_path: Path, ending: str) -> None:
    """The first piece is out of order, so the sort is under way when the last one is refused."""
    rng = np.random.default_rng(9)
    csv = csv_of(random_tape(rng, 400_000).iloc[::-1])
    assert len(csv) > 20 << 20, "several pieces"
    with pytest.raises(Quarantine, match=r"unreadable CSV|is empty in 1 rows"):
        reduce(tmp_path, csv + ending.encode())


def test_a_sort_without_space_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.ticks.SORT_MEMORY", "3MB")
    csv = csv_of(random_tape(np.random.default_rng(9), 300_000).iloc[::-1])
    with pytest.raises(PerpError, match=r"cannot sort .*zip: .*; is there space left in"):
        reduce(tmp_path, csv)


def test_a_line_without_end(tmp_path: Path) -> None:
    """It would have to be held whole, so it is refused before it fills the memory."""
    line = b",".join([b"1"] * 8_000_000)
    with pytest.raises(Quarantine, match="a line of the CSV is longer than 1,048,576 bytes"):
        reduce(tmp_path, GOOD.encode() + b"\n" + line)


# ------------------------------------------------------------------------------------- genuine
def test_genuine_ticks(tmp_path: Path) -> None:
    source = require_real_data() / "vision-um-aggTrades-partial" / "aggTrades.csv"
    frame = typed(pd.read_csv(source).assign(
        transact_time=lambda f: pd.to_datetime(f["transact_time"], unit="ms")
    ))  # fmt: skip
    gaps = frame["first_trade_id"].to_numpy()[1:] - frame["last_trade_id"].to_numpy()[:-1] - 1
    assert (len(frame), (gaps > 0).sum()) == (122, 1)
    keep = tmp_path / "ticks.parquet"
    layers, record = reduce(tmp_path, source.read_bytes(), "2026-03", keep)
    check_layers(layers, frame)
    check_record(record, frame)
    assert (record.rows_in, record.rows_out, record.missing_ids) == (122, 122, 0)
    assert (record.bad_rows, record.out_of_order, record.epoch_unit) == (0, 0, "ms")
    assert record.header_present
    pd.testing.assert_frame_equal(typed(pq.read_table(keep).to_pandas()), frame)
    daily, record = reduce(tmp_path, source.read_bytes(), "2026-03-27")
    assert daily.minutes.equals(layers.minutes)
    assert record.rows_out == 122
    with pytest.raises(Quarantine):
        reduce(tmp_path, source.read_bytes(), "2026-03-26")
