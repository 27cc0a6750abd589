"""A lake of every source, made by hand: who counts where, and what is known of the rest.

It is built in one warehouse as it was known in the middle of an hour, then as it grew, then anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from ingest.datasets import MARKET, SOURCES
from ingest.lake import FileRecord, Lake, LandingLog
from tests.build import dbt, read
from tests.conftest import Warehouse
from tests.lakes import land_partition, minute_bars, spans
from tests.reference import build_all, build_layers, compare
from tests.reference.sources import complete, feed_coverage, liquidations

AAA, BBB, CCC = "AAAUSDT", "BBBUSDT", "CCCUSDT"
MINUTE, FIVE, HOUR, DAY = (pd.Timedelta(minutes=n) for n in (1, 5, 60, 1440))
START = pd.Timestamp("2026-06-24")
START_LABELS = pd.Timestamp("2026-06-25")  # files of metrics from this day on
JULY = pd.Timestamp("2026-07-01")  # the archive has June
END = pd.Timestamp("2026-07-02 04:30")
CUT = pd.Timestamp("2026-06-26 09:40")  # first build: what was known by then

Span = tuple[pd.Timestamp, pd.Timestamp]
Spans = Mapping[tuple[str, str, str], Sequence[Span]]  # source, dataset, symbol -> what is whole


def at(day: str, clock: str = "00:00") -> pd.Timestamp:
    return pd.Timestamp(f"2026-{day} {clock}")


def between(times: pd.Series[Any], first: pd.Timestamp, last: pd.Timestamp) -> pd.Series[bool]:
    return (times >= first) & (times < last)


# --- the lake ---------------------------------------------------------------------------------
HOLE = at("06-26", "03:10"), at("06-26", "05:20")  # the archive lacks it, the API has it
NO_MINUTES = at("06-27", "10:00")  # an hour that only an hourly bar of the API has
UNASKED = at("06-27", "07:00"), at("06-27", "07:30")  # of BBB; nobody has it
SILENT = at("07-01", "20:00"), at("07-01", "20:10")  # the API has answered without it
DISPUTED = at("06-30", "15:07")
MARK_HOLE = at("06-28", "07:50"), at("06-28", "08:00")
API_SPANS = [(at("06-26"), at("06-27")), (at("06-30", "12:00"), END)]
LISTED = at("07-01", "02:13")  # CCC

COVERED: Spans = {
    ("api", "klines_1m", AAA): API_SPANS,
    ("api", "klines_1m", CCC): [(JULY, END)],
    ("api", "open_interest_5m", AAA): [(at("06-24", "09:00"), END)],
    ("api", "funding_rate", AAA): [(at("06-30"), END)],
    ("tardis", "liquidations", AAA): [(START, START + 2 * DAY)],
    ("tardis", "liquidations", MARKET): [(START + DAY, START + 2 * DAY)],
    ("tardis", "derivative_ticker", AAA): [(START, START + DAY)],
    ("stream", "liquidations", MARKET): [
        (at("06-25", "22:30"), at("06-26", "09:10")),
        (at("06-26", "09:10:05"), at("06-27", "06:00")),
    ],
    ("import", "liquidations", MARKET): [(at("06-26", "08:00"), at("06-26", "12:00"))],
}


def walk(symbol: str, first: pd.Timestamp) -> pd.DataFrame:
    """Minute bars of a random walk up to the end."""
    times = pd.date_range(first, END - MINUTE, freq="min")
    rng = np.random.default_rng(len(symbol) + ord(symbol[0]))
    close = 100 * np.exp(np.cumsum(rng.normal(0, 1e-3, len(times))))
    opened = np.concatenate([[100.0], close[:-1]])
    bars = pd.DataFrame(
        {
            "open_time": times,
            "open": opened,
            "high": np.maximum(opened, close) * 1.0002,
            "low": np.minimum(opened, close) / 1.0002,
            "close": close,
            "volume": np.exp(rng.normal(3, 1, len(times))).round(3),
        }
    )
    return minute_bars(symbol, bars)


def shifted(bars: pd.DataFrame, ratio: float) -> pd.DataFrame:
    """Bars of another price, so much above the last one, and a little more in some minutes."""
    times = bars["open_time"].dt
    factor = 1 + ratio * (1 + times.minute % 7 / 7 + times.hour * 7 % 11 / 11)
    return bars.assign(**{p: bars[p] * factor for p in ("open", "high", "low", "close")})


def premium(bars: pd.DataFrame) -> pd.DataFrame:
    close = bars["close"] * 1e-6
    return bars.assign(open=close, high=close + 1e-5, low=close - 1e-5, close=close)


def hourly(bars: pd.DataFrame) -> pd.DataFrame:
    hours = bars.groupby(bars["open_time"].dt.floor("h"))
    out = hours[["open"]].first()
    out["high"], out["low"] = hours["high"].max(), hours["low"].min()
    out["close"] = hours["close"].last()
    sums = ["volume", "quote_volume", "trade_count", "taker_buy_volume", "taker_buy_quote_volume"]
    out[sums] = hours[sums].sum()
    out = out.rename_axis("open_time").reset_index()
    return out.assign(symbol=bars["symbol"].iloc[0], close_time=out["open_time"] + HOUR - MINUTE)


def open_interest(moment: pd.Timestamp) -> float:
    """A number that tells its moment: 1000 at the start, one more every five minutes."""
    return 1000.0 + (moment - START) / FIVE


def bars_of_all() -> dict[tuple[str, str], list[pd.DataFrame]]:
    aaa, bbb, ccc = walk(AAA, START), walk(BBB, START), walk(CCC, LISTED)
    t = aaa["open_time"]
    aaa = aaa[~between(t, NO_MINUTES, NO_MINUTES + HOUR) & ~between(t, *SILENT)]
    t = aaa["open_time"]
    asked = between(t, *API_SPANS[0]) | between(t, *API_SPANS[1])
    api = aaa[asked].copy()
    api.loc[api["open_time"] == DISPUTED, "volume"] *= 2
    june = aaa[t < JULY]
    bbb = bbb[(bbb["open_time"] < JULY) & ~between(bbb["open_time"], *UNASKED)]
    mark = shifted(june, 1e-4)
    lost = hourly(walk(AAA, START)).query("open_time == @NO_MINUTES")
    return {
        ("vision", "klines_1m"): [june[~between(june["open_time"], *HOLE)], bbb],
        ("api", "klines_1m"): [api, ccc],
        ("vision", "klines_1h"): [hourly(june)],
        ("api", "klines_1h"): [lost, hourly(aaa[t >= JULY])],
        ("vision", "mark_price_klines_1m"): [mark[~between(mark["open_time"], *MARK_HOLE)]],
        ("api", "mark_price_klines_1m"): [mark[between(mark["open_time"], *MARK_HOLE)]],
        ("vision", "index_price_klines_1m"): [shifted(june, -1e-4)],
        ("api", "index_price_klines_1m"): [shifted(aaa[t >= JULY], -1e-4)],
        ("vision", "premium_index_klines_1m"): [premium(june)],
        ("api", "premium_index_klines_1m"): [premium(aaa[t >= JULY])],
    }


def archive_metrics() -> pd.DataFrame:
    """Daily files: labels 00:05 to 24:00 are ends of periods, later 00:00 to 23:55 are starts."""
    rows = []
    for day in pd.date_range(START, at("06-29"), freq="D").drop(at("06-28")):
        starts = day >= START_LABELS
        for i in range(288):
            label = day + i * FIVE + (pd.Timedelta(0) if starts else FIVE)
            interest = open_interest(label + FIVE if starts else label)
            if between_clock(label, "06-24", "10:45", "10:55"):
                continue
            if between_clock(label, "06-26", "12:45", "12:55"):
                interest = 0.0
            position = 1.25 + i * 1e-4
            if between_clock(label, "06-24", "12:45", "12:55"):
                position = np.nan
            rows.append((label, interest, interest * 100, 1.5, position, 1.75, 0.9, day, i))
    columns = [f.name for f in SOURCES["vision"]["metrics"].schema]
    return pd.DataFrame(rows, columns=["create_time", *columns[1:]]).assign(symbol=AAA)


def between_clock(label: pd.Timestamp, day: str, first: str, last: str) -> bool:
    return at(day, first) <= label <= at(day, last)


def api_series() -> dict[str, pd.DataFrame]:
    """The five series; one open interest is missing, one is disputed, one ratio is rounded off."""
    moments = pd.date_range(at("06-24", "09:00"), END, freq="5min")
    interest = pd.Series([open_interest(m) for m in moments])
    interest[moments == at("06-26", "15:00")] += 5
    frame = pd.DataFrame({"symbol": AAA, "timestamp": moments})
    known = moments != at("06-24", "10:55")
    ratio = frame.assign(long_share=0.6, short_share=0.4)
    return {
        "open_interest_5m": frame.assign(
            sum_open_interest=interest, sum_open_interest_value=interest * 100
        )[known],
        "top_position_ratio_5m": ratio.assign(long_short_ratio=1.3),
        "top_account_ratio_5m": ratio.assign(long_short_ratio=1.50004),
        "global_account_ratio_5m": ratio.assign(long_short_ratio=1.75)[moments < JULY],
        "taker_ratio_5m": frame.assign(buy_sell_ratio=0.9, buy_volume=9.0, sell_volume=10.0),
    }


def settlements() -> tuple[pd.DataFrame, pd.DataFrame]:
    jitter = pd.Timedelta(milliseconds=7)
    times = pd.date_range(START, at("06-30", "16:00"), freq="8h")
    archive = pd.DataFrame({"symbol": AAA, "calc_time": times + jitter, "funding_rate": 1e-4})
    asked = [at("06-30", "16:00"), *pd.date_range(JULY, at("07-01", "08:00"), freq="8h")]
    asked += [*pd.date_range(at("07-01", "12:00"), END, freq="4h")]
    api = pd.DataFrame({"symbol": AAA, "funding_time": asked, "funding_rate": 2e-4})
    api["funding_time"] += 2 * jitter
    new = pd.DataFrame(
        {
            "symbol": CCC,
            "funding_time": pd.date_range(at("07-01", "04:00"), END, freq="4h"),
            "funding_rate": 3e-4,
        }
    )
    api = pd.concat([api, new], ignore_index=True).assign(mark_price=None, rate_type=None)
    return archive.assign(funding_interval_hours=8), api


def order(time: pd.Timestamp, side: str, price: float, quantity: float, **more: Any) -> Any:
    filled = {"average_price": price * 0.99, "original_quantity": quantity}
    fills = {"last_fill_quantity": quantity, "accumulated_fill_quantity": quantity}
    kind = {"order_type": "LIMIT", "time_in_force": "IOC", "order_status": "FILLED"}
    return {"trade_time": time, "side": side, "price": price, **filled, **fills, **kind} | more


def liquidation_rows() -> list[tuple[str, str, str, pd.DataFrame]]:
    """(source, dataset, partition symbol, rows)."""
    first = order(at("06-24", "01:10"), "SELL", 90.0, 2.0)
    snapshot = [first, first, order(at("06-24", "01:20"), "BUY", 95.0, 1.0),
                order(at("06-24", "09:00"), "SELL", 96.0, 1.5)]  # fmt: skip

    def vendor(contract: str, sent: str, arrived: str, side: str, price: float) -> Any:
        times = {"timestamp": pd.Timestamp(sent), "local_timestamp": pd.Timestamp(arrived)}
        return {
            "contract": contract,
            "id": None,
            "side": side,
            "price": price,
            "amount": 3.0,
        } | times

    on_both = vendor(AAA, "2026-06-25 14:00:00", "2026-06-25 14:00:01", "buy", 101.0)
    own = [
        vendor(AAA, "2026-06-24 01:10:00", "2026-06-24 01:10:00.4", "sell", 90.0),
        vendor(AAA, "2026-06-24 23:59:59.9", "2026-06-25 00:00:00.1", "sell", 92.0),
        on_both,
    ]
    market = [on_both, vendor(BBB, "2026-06-25 15:30:00", "2026-06-25 15:30:01", "sell", 50.0)]

    def sent(contract: str, arrived: str, delay: float, connection: str = "a-1") -> Any:
        received = pd.Timestamp(f"2026-{arrived}")
        time = received - pd.Timedelta(seconds=delay)
        more = {"contract": contract, "receive_time": received, "event_time": time}
        return order(time, "SELL", 88.0, 4.0, **more, connection=connection)

    twice = sent(AAA, "06-26 00:30:00.2", 1.0)
    later = twice | {"receive_time": at("06-26", "00:30:05"), "connection": "b-1"}
    stream = [
        sent(BBB, "06-25 22:45:00", 1.0),  # the vendor covers this hour, the recorder half of it
        twice, later,
        sent(AAA, "06-26 04:00:00.3", 0.8),  # filled before the hour, known in it
        sent(AAA, "06-26 09:30:00.5", 0.5),  # the connection broke in this hour
        sent(AAA, "06-27 06:20:00", 1.0),  # after the recorder had stopped
    ]  # fmt: skip
    captured = [
        order(at("06-26", "09:30"), "SELL", 88.0, 4.0, contract=AAA, file="x"),
        order(at("06-26", "10:15"), "BUY", 99.0, 1.0, contract=AAA, file="x", average_price=None),
        order(at("06-26", "10:15"), "BUY", 99.0, 1.0, contract=AAA, file="y", average_price=None),
    ]
    archive = pd.DataFrame(snapshot).rename(columns={"trade_time": "time"})
    return [
        ("vision", "liquidation_snapshot", AAA, archive),
        ("tardis", "liquidations", AAA, pd.DataFrame(own)),
        ("tardis", "liquidations", MARKET, pd.DataFrame(market)),
        ("stream", "liquidations", MARKET, pd.DataFrame(stream)),
        ("import", "liquidations", MARKET, pd.DataFrame(captured).assign(stated_value=None)),
    ]


def ticker(last_price: Callable[[pd.Timestamp], float]) -> pd.DataFrame:
    """Messages at the ends of three hours: sound, a wild mark price, a stale open interest."""

    def message(clock: str, mark: float | None, interest: float | None) -> dict[str, Any]:
        arrived = at("06-24", clock)
        return {
            "contract": AAA,
            "timestamp": arrived - pd.Timedelta(milliseconds=20),
            "local_timestamp": arrived,
            "funding_timestamp": arrived.ceil("8h"),
            "funding_rate": 5e-5,
            "predicted_funding_rate": None,
            "open_interest": interest,
            "last_price": last_price(arrived),
            "index_price": None,
            "mark_price": None if mark is None else last_price(arrived) * mark,
        }

    return pd.DataFrame(
        [
            message("10:59:58", 1.0001, open_interest(at("06-24", "11:00"))),
            message("11:30:00", 1.5, None),
            message("11:59:50", 1.05, None),
            message("11:59:51", None, None),
            message("12:59:59", 1.0001, open_interest(at("06-24", "13:00")) * 1.1),
            message("13:00:00", 1.2, None),
        ]
    )


def exchange_info() -> pd.DataFrame:
    row = dict.fromkeys(("pair", "base_asset", "quote_asset", "margin_asset"), "X")
    numbers = ("tick_size", "lot_size", "min_notional", "liquidation_fee", "market_take_bound")
    row |= {"contract": AAA, "contract_type": "PERPETUAL", "underlying_type": "COIN"}
    looks = [(at("07-01"), "TRADING", 0.1), (at("07-02"), "SETTLING", 0.01)]
    return pd.DataFrame(
        [
            row
            | {"snapshot_time": seen, "status": status, "underlying_sub_type": "PoW"}
            | {"onboard_date": START, "delivery_date": at("07-02")}
            | dict.fromkeys(numbers, tick)
            for seen, status, tick in looks
        ]
    )


@dataclass(frozen=True)
class Piece:
    """Rows of one dataset and partition symbol, with the moment that each is known at."""

    source: str
    dataset: str
    symbol: str
    rows: pd.DataFrame
    known: pd.Series[Any]


def pieces() -> list[Piece]:
    out = []
    for (source, dataset), frames in bars_of_all().items():
        length = HOUR if dataset.endswith("1h") else MINUTE
        for frame in frames:
            symbol = frame["symbol"].iloc[0]
            out.append(Piece(source, dataset, symbol, frame, frame["open_time"] + length))
    metrics = archive_metrics()
    out.append(Piece("vision", "metrics", AAA, metrics, metrics["create_time"] + FIVE))
    for dataset, frame in api_series().items():
        out.append(Piece("api", dataset, AAA, frame, frame["timestamp"]))
    archive, api = settlements()
    out.append(Piece("vision", "funding_rate", AAA, archive, archive["calc_time"].dt.round("min")))
    for symbol, frame in api.groupby("symbol"):
        known = frame["funding_time"].dt.round("min")
        out.append(Piece("api", "funding_rate", str(symbol), frame, known))
    for source, dataset, symbol, frame in liquidation_rows():
        time = SOURCES[source][dataset].time_column
        out.append(Piece(source, dataset, symbol, frame, frame[time]))
    close = walk(AAA, START).set_index("open_time")["close"]
    messages = ticker(lambda t: float(close[(t - pd.Timedelta(microseconds=1)).floor("min")]))
    known = messages["local_timestamp"]
    out.append(Piece("tardis", "derivative_ticker", AAA, messages, known))
    info = exchange_info()
    out.append(Piece("api", "exchange_info", MARKET, info, info["snapshot_time"]))
    return out


def land_all(folder: Path, until: pd.Timestamp) -> None:
    """Land what was known by a moment, in place of what has been landed before."""
    lake = Lake(folder)
    lake.prepare(None)
    logs = {source: LandingLog(lake.log_folder, source) for source in SOURCES}
    day_file = FileRecord("liquidationSnapshot", "2026-06-24", "landed")
    for piece in pieces():
        key = piece.source, piece.dataset, piece.symbol
        time = SOURCES[piece.source][piece.dataset].time_column
        rows = piece.rows[piece.known <= until]
        for month, part in rows.groupby(rows[time].dt.strftime("%Y-%m")):
            first = pd.Timestamp(f"{month}-01")
            ends = min(first + pd.offsets.MonthBegin(1), until)
            spans = [(max(a, first), min(b, ends)) for a, b in COVERED.get(key, [])]
            land_partition(
                lake, logs[piece.source], piece.dataset, piece.symbol, str(month),
                pa.Table.from_pandas(part.sort_values(time), preserve_index=False),
                [day_file] if piece.dataset == "liquidation_snapshot" else [],
                source=piece.source,
                covered=[(a.isoformat(), b.isoformat()) for a, b in spans if a < b],
            )  # fmt: skip
    for log in logs.values():
        log.close()


MARTS = {
    "A": "hourly_bars", "B": "hourly_funding", "C": "hourly_cleaned", "D": "hourly_momentum",
    "E": "hourly_volatility", "M": "hourly_open_interest", "X": "hourly_context",
    "H": "from hourly_liquidations natural join liquidation_factors_1h", "S": "hourly_structure",
    "G": "hourly_transforms", "N": "hourly_signals",
}  # fmt: skip
TABLES = ["hourly_funding", "hourly_cleaned", "hourly_open_interest", "hourly_ticker",
          "hourly_bars", "liq_feed_coverage"]  # fmt: skip
HOURLY = ["--select", *(f"+{table}" for table in TABLES)]
NO_TESTS = ["--exclude-resource-type", "test", "--exclude-resource-type", "unit_test"]


@dataclass
class Live(Warehouse):
    """The whole lake's warehouse; and its tables when a part was known, and when they had grown."""

    earlier: dict[str, pd.DataFrame] = field(default_factory=dict)
    grown: dict[str, pd.DataFrame] = field(default_factory=dict)


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Live:
    folder = tmp_path_factory.mktemp("live")
    lake, path = folder / "lake", folder / "w.duckdb"
    land_all(lake, CUT)
    dbt(lake, path, "build", *HOURLY, *NO_TESTS)
    earlier = {name: read(path, name) for name in TABLES}
    land_all(lake, END)
    dbt(lake, path, "build", *HOURLY, *NO_TESTS)
    grown = {name: read(path, name) for name in TABLES}
    dbt(lake, path, "build", "--full-refresh", "--exclude", "test_type:generic", "test_type:unit")
    return Live(lake, path, earlier=earlier, grown=grown)


@pytest.fixture(scope="module")
def inputs(live: Live) -> dict[str, pd.DataFrame]:
    return live.inputs()


@pytest.fixture(scope="module")
def reference(live: Live, inputs: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    frames = build_all(complete(inputs), label_change=None)
    events = liquidations(inputs)
    coverage = feed_coverage(frames["T"], events, spans(live.lake))
    own = events.merge(
        coverage[["symbol", "hour_ts", "source"]], on=["symbol", "hour_ts", "source"]
    )
    return frames | build_layers(frames, own, coverage)


# --- the whole --------------------------------------------------------------------------------
@pytest.mark.parametrize("family", MARTS)
def test_equals_the_reference(live: Live, reference: dict[str, pd.DataFrame], family: str):
    expected = reference["T"].merge(reference[family], on=["symbol", "hour_ts"])
    differences = compare(expected, live.read(MARTS[family]), extra_columns=False)
    assert not differences, "\n".join(str(d) for d in differences)


def test_rows_known_by_then_have_not_changed(live: Live):
    last = CUT.floor("h") - HOUR
    for table, before in live.earlier.items():
        assert before["hour_ts"].max() == last
        now = live.read(f"select * from {table} where hour_ts <= '{last}'")
        differences = compare(now, before, rel=1e-12, floor=0, extra_columns=False)
        assert not differences, f"{table}: " + "\n".join(str(d) for d in differences)


def test_incremental_equals_full(live: Live):
    for table, grown in live.grown.items():
        differences = compare(live.read(table), grown, rel=1e-12, floor=0, extra_columns=False)
        assert not differences, f"{table}: " + "\n".join(str(d) for d in differences)


# --- bars -------------------------------------------------------------------------------------
def bar(live: Live, symbol: str, hour: pd.Timestamp) -> pd.Series[Any]:
    rows = live.read(f"from hourly_bars where symbol = '{symbol}' and hour_ts = '{hour}'")
    assert len(rows) == 1
    return rows.iloc[0]


def test_the_api_fills_holes_and_the_tail(live: Live):
    origins = {
        at("06-26", "02:00"): ("klines_1m", "archive", 60),
        at("06-26", "03:00"): ("klines_1m", "mixed", 60),
        at("06-26", "04:00"): ("klines_1m", "api", 60),
        NO_MINUTES: ("klines_1h", "api", 0),
        at("07-01", "20:00"): ("klines_1m", "api", 50),
        at("07-02", "03:00"): ("klines_1m", "api", 60),
    }
    for hour, expected in origins.items():
        row = bar(live, AAA, hour)
        assert (row["bar_source"], row["bar_origin"], row["n_minutes"]) == expected, hour
    assert bar(live, BBB, at("07-01", "05:00"))["has_bar"] == 0
    assert bar(live, CCC, LISTED.floor("h"))["bar_origin"] == "api"
    last = live.read("select max(hour_ts) as t from hourly_bars")["t"][0]
    assert last == at("07-02", "03:00"), "the horizon is that of the API's minutes"


def test_the_archive_wins_and_the_dispute_is_on_record(live: Live, inputs: Any):
    hour = DISPUTED.floor("h")
    minutes = inputs["klines_1m"].query("symbol == @AAA")
    own = minutes[between(minutes["open_time"], hour, hour + HOUR)]
    row = bar(live, AAA, hour)
    assert row["bar_origin"] == "archive"
    assert row["volume"] == pytest.approx(own["volume"].sum(), rel=1e-12)
    found = live.read(
        """select dataset_a, dataset_b, symbol, ts, field, round(value_b - value_a, 6) as more,
        cause from reconciliation
        where check_name = 'archive_against_api' and dataset_a like 'klines%'"""
    )
    extra = round(float(own.loc[own["open_time"] == DISPUTED, "volume"].iloc[0]), 6)
    assert found.values.tolist() == [
        ["klines_1m", "klines_1m", AAA, hour, "volume", extra, "values_differ"]
    ]
    compared = live.read(
        """select month, n_hours_compared, n_hours_different from reconciliation_summary
        where check_name = 'archive_against_api' and dataset = 'klines_1m'"""
    )
    # 22 whole hours and two partly filled ones of the 26th less one in the hole, 12 of the 30th
    assert compared.values.tolist() == [["2026-06", 23 + 12, 1]]


def test_coverage_says_what_the_api_gave_and_why_the_rest_is_missing(live: Live):
    coverage = live.read(
        f"""select symbol, month, n_expected, n_present, n_from_api, n_absent_upstream,
        n_not_ingested, n_before_listing from coverage where dataset = 'klines_1m'
        and month = '2026-07' and symbol in ('{AAA}', '{BBB}', '{CCC}') order by symbol"""
    )
    july = 28 * 60
    assert coverage.values.tolist() == [
        [AAA, "2026-07", july, july - 10, july - 10, 10, 0, 0],
        [BBB, "2026-07", july, 0, 0, 0, july, 0],
        [CCC, "2026-07", july, july - 133, july - 133, 0, 0, 133],
    ]
    gaps = live.read(
        """select symbol, gap_start, gap_end, reason, n_slots from gaps where dataset = 'klines_1m'
        and gap_start >= '2026-06-24' order by symbol, gap_start"""
    )
    no_minutes = (AAA, NO_MINUTES, NO_MINUTES + HOUR, "absent_upstream", 60)
    rows = list(gaps.itertuples(index=False, name=None))
    assert no_minutes in rows
    assert (AAA, *SILENT, "absent_upstream", 10) in rows
    assert (BBB, *UNASKED, "absent_upstream", 30) in rows
    assert not [r for r in rows if r[0] == AAA and r[1] == HOLE[0]]
    hours = live.read(
        f"""select n_present, n_from_api from int_grid_hours where symbol = '{AAA}'
        and dataset = 'mark_price_klines_1m' and hour_ts = '{MARK_HOLE[0].floor("h")}'"""
    )
    assert hours.values.tolist() == [[60, 10]]


# --- funding ----------------------------------------------------------------------------------
def test_settlements_of_the_api_carry_on_and_their_cycle_is_inferred(live: Live):
    rows = live.read(
        f"""select hour_ts, funding_rate, funding_interval_hours, funding_source
        from hourly_funding where symbol = '{AAA}'"""
    ).set_index("hour_ts")
    expected = {
        at("06-30", "16:00"): [1e-4, 8, "archive"],  # both have it
        JULY: [2e-4, 8, "api"],
        at("07-01", "11:00"): [2e-4, 8, "api"],
        at("07-01", "12:00"): [2e-4, 4, "api"],
    }
    for hour, values in expected.items():
        assert rows.loc[hour].tolist() == values, hour
    new = live.read(
        f"""select hour_ts, funding_interval_hours, funding_source from hourly_funding
        where symbol = '{CCC}' and hour_ts in ('2026-07-01 03:00', '2026-07-01 08:00')
        order by hour_ts"""
    )
    assert new["funding_source"].isna().tolist() == [True, False]
    assert new["funding_interval_hours"].tolist()[1] == 4
    found = live.read(
        """select ts, value_a, value_b from reconciliation where check_name = 'archive_against_api'
        and dataset_a = 'funding_rate'"""
    )
    assert found.values.tolist() == [[at("06-30", "16:00"), 1e-4, 2e-4]]


# --- metrics ----------------------------------------------------------------------------------
INTERESTS = {
    # labels are ends: 10:55 is missing in both, so 10:50 counts
    "a hole before the change": (at("06-24", "10:00"), at("06-24", "10:50"), 10, "api"),
    "the archive before it": (at("06-24", "13:00"), at("06-24", "13:55"), 5, "archive"),
    # labels are starts: that of 12:55 stands for 13:00
    "zeros after the change": (at("06-26", "12:00"), at("06-26", "13:00"), 5, "api"),
    "the archive after it": (at("06-27", "12:00"), at("06-27", "13:00"), 5, "archive"),
    "a day without a file": (at("06-28", "05:00"), at("06-28", "06:00"), 5, "api"),
    "the tail": (at("07-01", "05:00"), at("07-01", "06:00"), 5, "api"),
}


@pytest.mark.parametrize("case", INTERESTS)
def test_open_interest_is_completed_on_the_labels_of_the_archive(live: Live, case: str):
    hour, moment, age, source = INTERESTS[case]
    row = live.read(
        f"""select oi_open_interest, oi_age_minutes, oi_source, ls_toptrader_long_short_ratio
        from hourly_open_interest where symbol = '{AAA}' and hour_ts = '{hour}'"""
    ).iloc[0]
    assert row["oi_open_interest"] == open_interest(moment)
    assert (row["oi_age_minutes"], row["oi_source"]) == (age, source)


def test_a_missing_ratio_is_filled_alone(live: Live):
    row = live.read(
        f"""select oi_source, ls_toptrader_long_short_ratio as position,
        ls_global_account_ratio as everyone from hourly_open_interest
        where symbol = '{AAA}' and hour_ts = '2026-06-24 12:00'"""
    ).iloc[0]
    assert row.tolist() == ["archive", 1.3, 1.75]


def test_zeros_that_the_api_fills_are_no_gap(live: Live):
    zeros = live.read("select sum(n_zero_open_interest) as n from metrics_files")
    assert zeros["n"][0] == 3
    assert live.read("select * from gaps where reason = 'zero_upstream'").empty


def test_metrics_are_compared_moment_by_moment(live: Live):
    """Position ratios differ on purpose; accounts only by the API's rounding."""
    found = live.read(
        """select dataset_b, ts, field, value_a, value_b from reconciliation
        where dataset_a = 'metrics' and field <> 'toptrader_position_ratio' order by field"""
    )
    want = open_interest(at("06-26", "15:00"))
    label = at("06-26", "14:55")
    assert found.values.tolist() == [
        ["open_interest_5m", label, "open_interest", want, want + 5],
        ["open_interest_5m", label, "open_interest_usd", want * 100, (want + 5) * 100],
    ]
    positions = live.read(
        """select distinct dataset_b from reconciliation where dataset_a = 'metrics'
        and field = 'toptrader_position_ratio'"""
    )
    assert positions["dataset_b"].tolist() == ["top_position_ratio_5m"]


# --- liquidations -----------------------------------------------------------------------------
def test_events_equal_the_reference(live: Live, inputs: dict[str, pd.DataFrame]):
    keys = ["symbol", "source", "event_time", "side", "price", "quantity"]
    expected = liquidations(inputs)
    assert set(expected["source"]) == {"archive", "tardis", "stream", "import"}
    assert expected["n_copies"].max() == 2
    differences = compare(expected, live.read("int_liquidations"), keys=keys)
    assert not differences, "\n".join(str(d) for d in differences)


def test_coverage_equals_the_reference(
    live: Live, inputs: dict[str, pd.DataFrame], reference: dict[str, pd.DataFrame]
):
    expected = feed_coverage(reference["T"], liquidations(inputs), spans(live.lake))
    actual = live.read("liq_feed_coverage")
    differences = compare(expected, actual, extra_columns=False)
    assert not differences, "\n".join(str(d) for d in differences)


# symbol, hour -> source, events, other events
HOURS = {
    "two files, one counts": (AAA, at("06-24", "01:00"), "archive", 2, 1),
    "covered and quiet": (AAA, at("06-24", "05:00"), "archive", 0, 0),
    "known in the next hour": (AAA, at("06-25", "00:00"), "tardis", 1, 0),
    "own file and the market's": (AAA, at("06-25", "14:00"), "tardis", 1, 0),
    "the market's file alone": (BBB, at("06-25", "15:00"), "tardis", 1, 0),
    "no file of the contract": (BBB, at("06-24", "15:00"), None, None, 0),
    "half recorded": (BBB, at("06-25", "22:00"), "tardis", 0, 1),
    "two connections": (AAA, at("06-26", "00:00"), "stream", 1, 0),
    "pushed over the hour": (AAA, at("06-26", "04:00"), "stream", 1, 0),
    "recorded and quiet": (AAA, at("06-26", "05:00"), "stream", 0, 0),
    "a break of five seconds": (AAA, at("06-26", "09:00"), "import", 1, 1),
    "captured as well": (AAA, at("06-26", "10:00"), "stream", 0, 1),
    "not recorded": (AAA, at("06-27", "06:00"), None, None, 1),
}


@pytest.mark.parametrize("case", HOURS)
def test_liquidations_of_an_hour_have_one_source(live: Live, case: str):
    symbol, hour, source, n_events, n_other = HOURS[case]
    row = live.read(
        f"""select ok, source, n_events, n_other_events, is_mixed from liq_feed_coverage
        where symbol = '{symbol}' and hour_ts = '{hour}'"""
    ).iloc[0]
    assert row["ok"] == (source is not None)
    assert row["source"] == source
    assert (n_events is None and pd.isna(row["n_events"])) or row["n_events"] == n_events
    assert (row["n_other_events"], row["is_mixed"]) == (n_other, n_other > 0)
    counted = live.read(
        f"""select source from int_liquidations where is_hour_source and symbol = '{symbol}'
        and hour_ts = '{hour}'"""
    )
    assert counted["source"].tolist() == [source] * (n_events or 0)


def test_unrecorded_hours_are_gaps(live: Live):
    gaps = live.read(
        f"""select gap_start, gap_end, n_slots, slot from gaps where dataset = 'liquidations'
        and reason = 'feed_not_recorded' and symbol = '{AAA}'"""
    )
    end = at("07-02", "04:00")
    start = at("06-27", "06:00")
    assert gaps.values.tolist() == [[start, end, (end - start) // HOUR, "hour"]]


# --- ticker and terms -------------------------------------------------------------------------
def test_the_ticker_is_that_of_the_end_of_the_hour(live: Live):
    rows = live.read(
        f"""select hour_ts, ticker_mark_price / ticker_last_price as ratio, ticker_open_interest,
        ticker_funding_rate_estimate, ticker_next_funding_time, ticker_index_price
        from hourly_ticker where symbol = '{AAA}' and ticker_last_price is not null
        order by hour_ts"""
    )
    assert list(rows["hour_ts"]) == [at("06-24", f"{h}:00") for h in (10, 11, 12, 13)]
    np.testing.assert_allclose(rows["ratio"], [1.0001, 1.05, 1.0001, 1.2], rtol=1e-3)
    assert rows["ticker_open_interest"].notna().tolist() == [True, False, True, False]
    assert (rows["ticker_funding_rate_estimate"] == 5e-5).all()
    assert (rows["ticker_next_funding_time"] == at("06-24", "16:00")).all()
    assert rows["ticker_index_price"].isna().all()


def test_a_ticker_that_strays_is_on_record(live: Live):
    found = live.read(
        """select dataset_b, ts, field from reconciliation
        where check_name = 'ticker_against_archive' order by ts, field"""
    )
    assert found.values.tolist() == [
        ["mark_price_klines_1m", at("06-24", "11:00"), "mark_price"],
        ["metrics", at("06-24", "12:00"), "open_interest"],
        ["mark_price_klines_1m", at("06-24", "13:00"), "mark_price"],
    ]
    compared = live.read(
        """select n_hours_compared, n_hours_equal from reconciliation_summary
        where check_name = 'ticker_against_archive'"""
    )
    assert compared.values.tolist() == [[4, 1]]


def test_terms_of_a_contract_are_those_seen_last(live: Live):
    symbols = live.read("dim_symbols").set_index("symbol")
    terms = ["contract_type", "status", "underlying_type", "tick_size", "lot_size"]
    assert symbols.loc[AAA, terms].tolist() == ["PERPETUAL", "SETTLING", "COIN", 0.01, 0.01]
    assert symbols.loc[BBB, terms].isna().all()
    assert MARKET not in symbols.index
    assert symbols.loc[CCC, "n_datasets"] == 2
