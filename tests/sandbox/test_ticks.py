"""The tape makes the bars, to the last lot, and its files have the flaws of the scenario."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import zipfile
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.csv as pacsv
import pytest

from ingest.datasets import VISION
from ingest.sandbox.market import Contract, Market, Tape, epoch_ms, simulate
from ingest.sandbox.scenario import CONTRACTS, SYMBOLS

START = datetime(2024, 1, 1)
PAUSE = (datetime(2024, 1, 2, 9), datetime(2024, 1, 3, 8))
CONTRACT = Contract("BTCUSDT", 42_000, 1, 3, 4e6, thin=0.02, pause=PAUSE)
TICKS = list(VISION["agg_trades_1m"].headers[0])
BARS = [f.name for f in VISION["klines_1m"].fields]


@pytest.fixture(scope="module")
def market() -> Market:
    return simulate(CONTRACT, START, 4)


def path(archive: Path, symbol: str, period: str, dataset: str = "agg_trades_1m") -> Path:
    spec = VISION[dataset]
    cadence = "monthly" if len(period) == 7 else "daily"
    return archive / spec.prefixes(cadence, symbol)[0] / spec.file_name(symbol, period)


def rows(file: Path, columns: list[str]) -> pd.DataFrame:
    """Rows of a zip in file order, with or without a header line."""
    with zipfile.ZipFile(file) as content:
        body = content.read(content.namelist()[0])
    options = pacsv.ReadOptions(column_names=columns, skip_rows=not body[:1].isdigit())
    return pacsv.read_csv(io.BytesIO(body), options).to_pandas()


def ticks(archive: Path, symbol: str, period: str) -> pd.DataFrame:
    return rows(path(archive, symbol, period), TICKS)


def moment(text: str) -> int:
    return epoch_ms(datetime.fromisoformat(text))


def between(frame: pd.DataFrame, first: str, end: str) -> pd.Series:
    return frame["transact_time"].between(moment(first), moment(end), inclusive="left")


# ------------------------------------------------------------------------------------- the tape
def test_a_tape_is_sound(market: Market):
    tape = market.tape
    assert (np.diff(tape.times) >= 0).all()
    assert 0.05 < (np.diff(tape.times) == 0).mean() < 0.2
    assert (tape.lots >= 1).all()
    assert (tape.last_ids - tape.first_ids < tape.lots).all(), "a raw trade has a lot at least"
    assert 3 < len(tape.ids) / (market.trades > 0).sum() < 5
    sizes = tape.price_ticks * tape.lots
    assert np.quantile(sizes, 0.99) > 20 * np.quantile(sizes, 0.5)
    hours = pd.Series(sizes).groupby(tape.times // 3_600_000)
    whales = hours.apply(lambda x: x[x >= np.quantile(sizes, 0.99)].sum() / x.sum())
    assert whales.std() > 0.05


def test_ids_begin_at_one_with_every_listing(market: Market):
    tape = market.tape
    assert not ((tape.times >= epoch_ms(PAUSE[0])) & (tape.times < epoch_ms(PAUSE[1]))).any()
    for listing in (tape.times < epoch_ms(PAUSE[0]), tape.times >= epoch_ms(PAUSE[1])):
        assert np.array_equal(tape.ids[listing], np.arange(1, listing.sum() + 1))
        first, last = tape.first_ids[listing], tape.last_ids[listing]
        assert 1 <= first[0] <= 10
        skipped = first[1:] - last[:-1] - 1
        assert skipped.min() == 0
        assert 0 < (skipped > 0).mean() < 0.02


def test_the_same_seed_prints_the_same_tape(market: Market):
    again, other = (simulate(CONTRACT, START, 4, seed=seed).tape for seed in (7, 8))
    for field in dataclasses.fields(Tape):
        assert np.array_equal(getattr(market.tape, field.name), getattr(again, field.name))
    assert not np.array_equal(market.tape.price_ticks, other.price_ticks)


def test_before_the_listing_there_is_no_tape():
    unlisted = dataclasses.replace(CONTRACT, listed=START + timedelta(days=9))
    market = simulate(unlisted, START, 4)
    assert len(market.tape.ids) == market.trades.sum() == market.quote.sum() == 0


# ------------------------------------------------------------------------------------ the files
@pytest.mark.parametrize("dataset", ["klines_1m", "klines_1h"])
@pytest.mark.parametrize(
    ("symbol", "period"),
    [
        ("BTCUSDT", "2024-01"),
        ("XRPUSDT", "2024-01"),  # headerless
        ("TIAUSDT", "2024-02"),  # lists within the month
        ("WAVESUSDT", "2024-02"),  # ends within the month
        ("ICPUSDT", "2024-02"),
        ("1000PEPEUSDT", "2024-03-05"),
        ("币安人生USDT", "2024-02"),
    ],
)
def test_bars_are_sums_of_ticks(archive: Path, symbol: str, period: str, dataset: str):
    contract = next(c for c in CONTRACTS if c.symbol == symbol)
    price, lot = 10**contract.price_decimals, 10**contract.lot_decimals
    tape = ticks(archive, symbol, period)
    tape["lots"] = np.rint(tape["quantity"] * lot).astype(np.int64)
    assert (tape["lots"] / lot == tape["quantity"]).all()
    tape["value"] = np.rint(tape["price"] * price).astype(np.int64) * tape["lots"]
    tape["bought"] = ~tape["is_buyer_maker"]
    tape["raw"] = tape["last_trade_id"] - tape["first_trade_id"] + 1
    tape["bought_lots"] = tape["lots"] * tape["bought"]
    tape["bought_value"] = tape["value"] * tape["bought"]

    bars = rows(path(archive, symbol, period, dataset), BARS)
    step = 60_000 if dataset == "klines_1m" else 3_600_000
    made = tape.groupby(tape["transact_time"] // step * step)
    first = made["price"].first().index
    assert (first == bars["open_time"][bars["trade_count"] > 0]).all()
    bars = bars[bars["trade_count"] > 0].set_index("open_time")
    for column, expected in {
        "open": made["price"].first(),
        "high": made["price"].max(),
        "low": made["price"].min(),
        "close": made["price"].last(),
        "volume": made["lots"].sum() / lot,
        "quote_volume": made["value"].sum() / (price * lot),
        "trade_count": made["raw"].sum(),
        "taker_buy_volume": made["bought_lots"].sum() / lot,
        "taker_buy_quote_volume": made["bought_value"].sum() / (price * lot),
    }.items():
        assert np.array_equal(bars[column], expected), column


HOLES = {  # ids that no file has: between the last row before the first time and the second
    "BNBUSDT": ("2024-01-23 14:10", "2024-01-23 14:25"),
    "DOGEUSDT": ("2024-01-31 23:58", "2024-02-01 00:03"),
    "AVAXUSDT": ("2024-02-09", "2024-02-10"),
}


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_ids_have_the_holes_of_lost_rows_and_no_others(archive: Path, symbol: str):
    files = archive.glob(f"data/futures/um/*/aggTrades/{symbol}/*.zip")
    damaged = path(archive, "LINKUSDT", "2024-02")
    whole = pd.concat([rows(f, TICKS) for f in files if f != damaged])
    whole = whole.sort_values(["transact_time", "agg_trade_id"])
    whole = whole.drop_duplicates(["transact_time", "agg_trade_id"])
    ids, times = (whole[c].to_numpy() for c in ("agg_trade_id", "transact_time"))

    if symbol == "1000PEPEUSDT":
        assert ids[0] > 31 * 1440 * 3, "the ids of January are gone"
    else:
        assert ids[0] == 1
    jumps = np.flatnonzero(np.diff(ids) != 1)
    if symbol in HOLES:
        first, end = (moment(x) for x in HOLES[symbol])
        (at,) = jumps
        assert first - 60_000 <= times[at] < first
        assert end <= times[at + 1] < end + 60_000
        assert ids[at + 1] - ids[at] > 3 * (end - first) / 60_000
    elif symbol == "ICPUSDT":
        (at,) = jumps
        assert ids[at + 1] == 1
        assert times[at] < moment("2024-01-20 09:00") < moment("2024-02-05 08:00") <= times[at + 1]
    else:
        assert len(jumps) == 0


def test_some_ticks_come_interleaved_and_twice(archive: Path):
    file = ticks(archive, "SOLUSDT", "2024-01")
    ids = file["agg_trade_id"]
    assert file.duplicated().sum() == ids.duplicated().sum() == 400
    assert ids.nunique() == ids.max()
    steps = ids.diff()
    assert (steps > ids.max() / 3).sum() > 50
    assert (steps < 0).sum() > 50


def test_some_ticks_have_no_quantity(archive: Path):
    file = ticks(archive, "ETHUSDT", "2024-01")
    inside = between(file, "2024-01-21 02:00", "2024-01-21 08:00")
    assert (file["quantity"][~inside] > 0).all()
    assert (file["quantity"][inside] == 0).mean() == pytest.approx(0.38, abs=0.01)
    day = between(file, "2024-01-21", "2024-01-22")
    daily = ticks(archive, "ETHUSDT", "2024-01-21")
    assert list(daily["agg_trade_id"]) == list(file["agg_trade_id"][day])
    assert (daily["quantity"] > 0).all()

    file = ticks(archive, "XRPUSDT", "2024-02")
    inside = between(file, "2024-02-21 10:00", "2024-02-21 11:00")
    assert (file["quantity"][~inside] > 0).all()
    assert (file["quantity"][inside] == 0).mean() == pytest.approx(1 / 3, abs=0.01)
    assert not path(archive, "XRPUSDT", "2024-02-21").exists()


def test_a_short_month_has_one_of_its_two_lost_days_in_a_daily_file(archive: Path):
    file = ticks(archive, "AVAXUSDT", "2024-02")
    assert not between(file, "2024-02-08", "2024-02-10").any()
    assert between(ticks(archive, "AVAXUSDT", "2024-02-08"), "2024-02-08", "2024-02-09").all()
    assert not path(archive, "AVAXUSDT", "2024-02-09").exists()


def test_a_damaged_month_fits_its_checksum_and_has_daily_files(archive: Path):
    damaged = path(archive, "LINKUSDT", "2024-02")
    sidecar = damaged.with_name(f"{damaged.name}.CHECKSUM").read_text()
    assert sidecar.split()[0] == hashlib.sha256(damaged.read_bytes()).hexdigest()
    with pytest.raises(zipfile.BadZipFile):
        zipfile.ZipFile(damaged)
    assert all(path(archive, "LINKUSDT", f"2024-02-{d:02d}").exists() for d in range(1, 30))


def test_tick_files_lie_where_bars_do_unless_the_scenario_says_otherwise(archive: Path):
    def periods(dataset: str, symbol: str) -> set[str]:
        folders = (path(archive, symbol, p, dataset).parent for p in ("2024-01", "2024-03-01"))
        return {f.stem.split("-", 2)[2] for folder in folders for f in folder.glob("*.zip")}

    fewer = {"1000PEPEUSDT": {"2024-01"}}
    more = {
        "ETHUSDT": {"2024-01-21"},
        "AVAXUSDT": {"2024-02-08"},
        "LINKUSDT": {f"2024-02-{d:02d}" for d in range(1, 30)},
    }
    for symbol in SYMBOLS:
        expected = periods("klines_1h", symbol) - fewer.get(symbol, set()) | more.get(symbol, set())
        assert periods("agg_trades_1m", symbol) == expected, symbol


def test_two_januaries_have_no_header_line(archive: Path):
    headerless = set()
    for file in archive.glob("data/futures/um/*/aggTrades/*/*.zip"):
        if file != path(archive, "LINKUSDT", "2024-02"):
            with zipfile.ZipFile(file) as content, content.open(content.namelist()[0]) as lines:
                if lines.readline().decode().strip() != ",".join(TICKS):
                    headerless.add(file.stem)
                row = lines.readline().decode().strip()
            assert row.rsplit(",", 1)[1] in ("true", "false")
    assert headerless == {f"{s}-aggTrades-2024-01" for s in ("ADAUSDT", "XRPUSDT")}
