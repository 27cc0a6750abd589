"""Each flaw of the sandbox shows in SQL, with its reason and its size."""

from __future__ import annotations

import pandas as pd
import pytest

from tests.conftest import Warehouse

# dataset, symbol, reason -> first moment, first moment after, slots
GAPS = {
    "late listing": (
        "klines_1m", "TIAUSDT", "before_listing",
        "2024-01-01", "2024-02-13 08:30", 43 * 1440 + 510,
    ),
    "delisting": (
        "klines_1m", "WAVESUSDT", "after_delisting",
        "2024-02-19", "2024-03-11 05:55", 21 * 1440 + 355,
    ),
    "lost day": ("klines_1m", "SOLUSDT", "absent_upstream", "2024-02-06", "2024-02-07", 1440),
    "outage": (
        "klines_1m", "BTCUSDT", "exchange_outage", "2024-02-20 05:10", "2024-02-20 07:25", 135,
    ),
    "bad checksum": ("klines_1m", "LINKUSDT", "quarantined", "2024-03-04", "2024-03-05", 1440),
    "reused name": (
        "klines_1m", "ICPUSDT", "absent_upstream",
        "2024-01-20 09:00", "2024-02-05 08:00", 15 * 1440 + 23 * 60,
    ),
    "missing marks": (
        "mark_price_klines_1m", "XRPUSDT", "absent_upstream",
        "2024-01-19 10:00", "2024-01-19 11:30", 90,
    ),
    "missing month": (
        "premium_index_klines_1m", "DOGEUSDT", "absent_upstream",
        "2024-01-01", "2024-02-01", 31 * 1440,
    ),
    "no metrics": (
        "metrics", "1000PEPEUSDT", "absent_upstream", "2024-01-01", "2024-03-11", 70 * 288,
    ),
    "missing metrics day": (
        "metrics", "BNBUSDT", "absent_upstream", "2024-02-08", "2024-02-09", 288,
    ),
    "short metrics day": (
        "metrics", "BTCUSDT", "absent_upstream", "2024-02-16 13:35", "2024-02-17", 125,
    ),
    "zero metrics": (
        "metrics", "BTCUSDT", "zero_upstream", "2024-01-10 10:00", "2024-01-10 13:00", 36,
    ),
    "not asked of the API": (
        "klines_1m", "1000PEPEUSDT", "not_ingested", "2024-03-11", "2024-03-11 06:00", 360,
    ),
    "not recorded": (
        "liquidations", "BTCUSDT", "feed_not_recorded", "2024-01-11", "2024-02-05", 25 * 24,
    ),
    "damaged metrics zip": (
        "metrics", "LINKUSDT", "quarantined", "2024-02-22", "2024-02-23", 288,
    ),
}  # fmt: skip


@pytest.mark.parametrize("flaw", GAPS)
def test_gap(sandbox: Warehouse, flaw: str):
    dataset, symbol, reason, start, end, slots = GAPS[flaw]
    gaps = sandbox.read(
        f"""select gap_start, gap_end, n_slots from gaps where dataset = '{dataset}'
        and symbol = '{symbol}' and reason = '{reason}'"""
    )
    rows = set(gaps.itertuples(index=False, name=None))
    assert (pd.Timestamp(start), pd.Timestamp(end), slots) in rows, rows


def test_repaired_and_carried_days_leave_no_gap(sandbox: Warehouse):
    """ETHUSDT January lacks two days in its monthly file; daily files have them."""
    coverage = sandbox.read(
        "select * from coverage where dataset = 'klines_1m' and symbol = 'ETHUSDT'"
    )
    assert list(coverage["n_missing"]) == [0, 0, 0]
    files = sandbox.read(
        """select period from landing_files where dataset = 'klines_1m' and symbol = 'ETHUSDT'
        and month = '2024-01' and is_current order by period"""
    )
    assert list(files["period"]) == ["2024-01", "2024-01-16", "2024-01-19"]


def test_an_hour_that_minutes_lack_comes_from_the_hourly_file(sandbox: Warehouse):
    bars = sandbox.read(
        """select bar_source, count(*) as n, min(volume) as least from hourly_bars
        where symbol = 'SOLUSDT' and cast(hour_ts as date) = '2024-02-06' group by bar_source"""
    )
    assert list(bars["bar_source"]) == ["klines_1h"]
    assert list(bars["n"]) == [24]
    assert bars["least"][0] > 0


def test_reconciliation_finds_what_differs_and_only_that(sandbox: Warehouse):
    found = sandbox.read(
        """select dataset_a, symbol, cause, count(distinct ts) as hours, min(ts) as first_ts
        from reconciliation where check_name in ('minutes_against_hours', 'archive_revision')
        group by all order by all"""
    )
    rows = set(found.drop(columns="first_ts").itertuples(index=False, name=None))
    outage = {
        (f"{kind}_price_klines_1m", symbol, cause, hours)
        for kind in ("mark", "index")
        for symbol in set(sandbox.read("select distinct symbol from hourly_bars")["symbol"])
        - {"WAVESUSDT"}
        for cause, hours in (("only_in_b", 1), ("minutes_missing", 2))
    }
    expected = {
        ("klines_1m", "BNBUSDT", "flat_in_a", 1),
        ("klines_1m", "SOLUSDT", "only_in_b", 24),
        ("klines_1m", "LINKUSDT", "only_in_b", 24),
        ("klines_1m", "ADAUSDT", "replaced_upstream", 1),
        ("premium_index_klines_1m", "DOGEUSDT", "only_in_b", 744),
    }
    kinds = {(d, s, c) for d, s, c, _ in rows}
    assert expected <= rows, expected - rows
    assert kinds - {(d, s, c) for d, s, c, _ in expected} <= {(d, s, c) for d, s, c, _ in outage}


def test_the_correction_made_minutes_and_hours_agree(sandbox: Warehouse):
    """ADAUSDT 2024-01-23 15:00 differed until upstream replaced the minute file."""
    differing = sandbox.read(
        """select * from reconciliation where symbol = 'ADAUSDT'
        and check_name = 'minutes_against_hours' and dataset_a = 'klines_1m'"""
    )
    assert differing.empty
    revision = sandbox.read("select * from reconciliation where check_name = 'archive_revision'")
    assert "ADAUSDT-1m-2024-01.zip: sha256 " in revision["detail"][0]
    assert "became" in revision["detail"][0]


def test_duplicates_and_disorder_are_counted(sandbox: Warehouse):
    file = sandbox.read(
        """select rows_in, rows_out, duplicates_dropped, out_of_order from landing_files
        where symbol = 'DOGEUSDT' and dataset = 'klines_1m' and period = '2024-01'"""
    )
    assert file.values.tolist() == [[44_640 + 400, 44_640, 400, 2]]
    twice = sandbox.read(
        """select sum(duplicates_dropped) as n, sum(rows_in) as rows_in from landing_files
        where dataset = 'liquidation_snapshot'"""
    )
    assert twice["n"][0] * 2 == twice["rows_in"][0] > 0


def test_vintages_are_on_record(sandbox: Warehouse):
    headers = sandbox.read(
        """select symbol from landing_files where not has_header and source = 'vision'
        group by symbol order by symbol"""
    )
    assert list(headers["symbol"]) == ["ADAUSDT", "XRPUSDT"]
    units = sandbox.read(
        """select symbol, period from landing_files
        where epoch_unit = 'us' and source = 'vision' and is_current"""
    )
    assert units.values.tolist() == [["DOGEUSDT", "2024-02"]]


def test_metrics_defects_are_counted_per_file(sandbox: Warehouse):
    def one(symbol: str, day: str, column: str) -> int:
        query = f"select {column} from metrics_files where symbol = '{symbol}'"
        return int(sandbox.read(f"{query} and file_date = '{day}'")[column][0])

    assert one("BTCUSDT", "2024-01-10", "n_zero_open_interest") == 36
    assert one("BTCUSDT", "2024-01-11", "n_zero_value_only") == 10
    assert one("ETHUSDT", "2024-01-12", "n_no_taker_ratio") == 288
    assert one("XRPUSDT", "2024-02-05", "n_off_grid") > 250
    assert one("ADAUSDT", "2024-02-06", "n_not_picked") == 10
    assert one("ADAUSDT", "2024-02-07", "n_rows") == 288
    labels = sandbox.read(
        "select label_convention, count(*) as n from metrics_files group by 1 order by n desc"
    )
    assert labels["label_convention"][0] == "period_end"
    assert "period_start" not in set(labels["label_convention"])


def test_symbols_have_their_life_spans(sandbox: Warehouse):
    symbols = sandbox.read("dim_symbols").set_index("symbol")
    assert symbols.loc["TIAUSDT", "listed_ts"] == pd.Timestamp("2024-02-13 08:30")
    ended = symbols.loc["WAVESUSDT", "delisted_ts"]
    assert pd.Timestamp("2024-02-15 08:50") < ended <= pd.Timestamp("2024-02-15 09:00")
    assert symbols.loc["ICPUSDT", "n_listing_segments"] == 2
    assert list(symbols.index[symbols["is_delisted"]]) == ["WAVESUSDT"]
    assert not symbols.loc["币安人生USDT", "in_universe"]
    assert "BTCUSDT_240329" not in symbols.index


def test_rows_are_metrics_complete_while_their_last_day_has_metrics(sandbox: Warehouse):
    rows = sandbox.read(
        """select spine.symbol, spine.listing_segment, spine.hour_ts,
            complete.symbol is not null as is_in, coalesce(slots.n_present, 0) as n_present
        from int_hourly_spine as spine
        left join final_dataset_metrics_complete as complete using (symbol, hour_ts)
        left join int_grid_hours as slots
            on slots.symbol = spine.symbol and slots.hour_ts = spine.hour_ts
            and slots.dataset = 'metrics'
        order by spine.symbol, spine.hour_ts"""
    )
    day = rows.groupby(["symbol", "listing_segment"])["n_present"].rolling(24, min_periods=1)
    expected = day.mean().to_numpy() >= 6
    assert (rows["is_in"].to_numpy() == expected).all()

    hours = rows[rows["is_in"]].groupby("symbol")["hour_ts"]
    assert "1000PEPEUSDT" not in hours.groups, "it has no metrics"
    metrics_end = pd.Timestamp("2024-02-15 09:00")
    assert hours.max()["WAVESUSDT"] == metrics_end + pd.Timedelta(hours=11), "half a day later"
    assert hours.min()["WAVESUSDT"] == pd.Timestamp("2024-01-01"), "what came before stays"
    lost = rows[(rows["symbol"] == "BNBUSDT") & ~rows["is_in"]]["hour_ts"]
    assert (lost.min(), lost.max()) == (
        pd.Timestamp("2024-02-08 12:00"), pd.Timestamp("2024-02-09 10:00"),
    ), "the day without metrics, half a day late"  # fmt: skip


def test_a_second_ingest_read_the_replaced_file_only(sandbox: Warehouse):
    """Neither what stands nor what is known to be bad is asked for again."""
    runs = sandbox.read(
        """select left(log_seq, 8) as run, status, count(*) as n
        from landing_log where source = 'vision' group by all order by all"""
    )
    landed = runs[runs["status"] == "landed"].set_index("run")["n"]
    assert landed["00000001"] > 300
    assert runs[runs["run"] > "00000001"][["status", "n"]].to_dict("records") == [
        {"status": "landed", "n": 1}
    ]
    later = "select * from landing_files where source = 'vision' and log_seq > '00000002'"
    assert len(sandbox.read(later)) == 1
