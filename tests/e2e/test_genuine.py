"""Genuine exchange files through the whole path: HTTP, verification, lake, dbt, marts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ingest.config import Config
from ingest.run import Options, ingest_archive
from ingest.sandbox.server import ArchiveServer
from tests.build import dbt, read
from tests.mirror import lay_out_funding, lay_out_klines, lay_out_metrics, require_real_data

SYMBOLS = ["LINKUSDT", "AVAXUSDT", "ALGOUSDT"]


@dataclass
class Genuine:
    real: Path
    warehouse: Path
    settlements: dict[str, list[tuple[int, float]]]
    metrics_days: dict[str, list[str]]

    def read(self, query: str) -> pd.DataFrame:
        return read(self.warehouse, query)


@pytest.fixture(scope="module")
def genuine(tmp_path_factory: pytest.TempPathFactory) -> Genuine:
    """A warehouse of LINK, AVAX and ALGO months."""
    real = require_real_data()
    folder = tmp_path_factory.mktemp("genuine")
    root = folder / "archive"
    assert lay_out_klines(real, root) == sorted(SYMBOLS)
    metrics_days = {s: lay_out_metrics(real, root, s) for s in ("LINKUSDT", "AVAXUSDT")}
    settlements = {s: lay_out_funding(real, root, s) for s in SYMBOLS}
    with ArchiveServer(root) as server:
        config = Config(
            folder / "lake", folder / "w.duckdb", server.archive_url, server.listing_url
        )
        _, summary = ingest_archive(
            config,
            ["klines_1m", "metrics", "funding_rate"],
            SYMBOLS,
            date(2022, 1, 1),
            date(2026, 3, 31),
            Options(),
        )
    assert summary.ok, summary.problems
    dbt(config.lake, config.warehouse, "build")
    return Genuine(real, config.warehouse, settlements, metrics_days)


@pytest.mark.parametrize("symbol", ["LINKUSDT", "AVAXUSDT"])
def test_every_hour_equals_the_exchanges_own_hourly_candle(genuine: Genuine, symbol: str):
    rest = pd.read_csv(genuine.real / "rest-gravestone-data" / "1h" / f"{symbol}.csv")
    rest["hour_ts"] = pd.to_datetime(rest["timestamp"], unit="ms")
    ours = genuine.read(
        f"""select hour_ts, open, high, low, close, volume, quote_volume, trade_count
        from hourly_bars where symbol = '{symbol}' and hour_ts >= '2026-02-01'
        and has_bar = 1"""
    )
    both = rest.merge(ours, on="hour_ts", suffixes=("_rest", ""))
    assert len(both) == 672
    for column in ("open", "high", "low", "close"):
        assert (both[column] == both[f"{column}_rest"]).all(), column
    assert (both["trade_count"] == both["trades"]).all()
    for column in ("volume", "quote_volume"):
        np.testing.assert_allclose(both[column], both[f"{column}_rest"], rtol=1e-12)


def test_settlements_land_on_their_hours_despite_jitter(genuine: Genuine):
    jittered = [t for s in genuine.settlements.values() for t, _ in s if t % 1000]
    assert len(jittered) > 50, "the files carry real jitter"
    for symbol in ("LINKUSDT", "AVAXUSDT"):
        rates = genuine.read(
            f"""select hour_ts, funding_rate, hours_since_funding from hourly_funding
            where symbol = '{symbol}' and hour_ts between '2026-02-02' and '2026-02-28 23:00'"""
        ).set_index("hour_ts")
        checked = 0
        for calc_time, rate in genuine.settlements[symbol]:
            hour = pd.Timestamp(calc_time, unit="ms").round("min")
            if hour in rates.index:
                row = rates.loc[hour]
                assert (row["funding_rate"], row["hours_since_funding"]) == (rate, 0)
                later = rates.loc[hour + pd.Timedelta(hours=7)]
                assert (later["funding_rate"], later["hours_since_funding"]) == (rate, 7)
                checked += 1
        assert checked == 27 * 3


DEFECTS = {
    "zeros": ("2022-03-07", "sum_open_interest = 0"),
    "more zeros": ("2024-07-10", "sum_open_interest = 0"),
}


@pytest.mark.parametrize("case", DEFECTS)
def test_zeros_are_missing_values(genuine: Genuine, case: str):
    day, condition = DEFECTS[case]
    raw = genuine.read(
        f"""select count(*) as n from read_parquet(
        '{genuine.warehouse.parent}/lake/vision/metrics/symbol=LINKUSDT/*/data.parquet')
        where file_date = '{day}' and {condition}"""
    )
    assert raw["n"][0] > 10, "the file carries the known defect"
    staged = genuine.read(
        f"""select count(*) as n, count(open_interest) as known, min(open_interest) as least
        from stg_vision__metrics where symbol = 'LINKUSDT' and file_date = '{day}'"""
    )
    assert staged["known"][0] == staged["n"][0] - raw["n"][0]
    assert staged["least"][0] > 0


def test_a_short_day_is_counted_with_its_reason(genuine: Genuine):
    gap = genuine.read(
        """select * from gaps where dataset = 'metrics' and symbol = 'LINKUSDT'
        and gap_start = '2024-02-16 13:35:00'"""
    )
    assert list(gap["reason"]) == ["absent_upstream"]
    assert list(gap["n_slots"]) == [125]


def test_rows_of_one_bucket_are_picked_once(genuine: Genuine):
    twice = genuine.read(
        """select symbol, bucket_ts, count(*) as n, sum(case when is_bucket_pick then 1 else 0 end)
        as picked, count(open_interest) as known,
        max(case when is_bucket_pick then open_interest end) as pick
        from stg_vision__metrics group by symbol, bucket_ts having count(*) > 1"""
    )
    assert len(twice) >= 4, "the files carry several rows in one five minutes"
    assert (twice["picked"] == 1).all()
    assert (twice["pick"].notna() == (twice["known"] > 0)).all(), "a zero twin never wins"


def test_off_grid_rows_fall_in_their_bucket(genuine: Genuine):
    late = genuine.read(
        """select count(*) as n, max(create_time - bucket_ts) as most from stg_vision__metrics
        where create_time <> bucket_ts"""
    )
    assert late["n"][0] > 50
    assert late["most"][0] < pd.Timedelta(minutes=5)


def test_labels_are_recognised_as_period_ends(genuine: Genuine):
    """All editions on disk label by the period's end; the measurement must say so."""
    labels = genuine.read("metrics_labels")
    decided = labels[labels["convention"] != "undetermined"]
    assert len(decided) > 50
    assert set(decided["convention"]) == {"period_end"}
    assert (decided["error_after_label"] > 3 * decided["error_at_label"]).mean() > 0.95


def test_open_interest_is_fresh_wherever_the_day_is_there(genuine: Genuine):
    hours = genuine.read(
        """select cast(hour_ts as date) as day, count(*) as n, count(oi_open_interest) as known,
        max(oi_age_minutes) as oldest, min(oi_open_interest) as least
        from hourly_open_interest where symbol = 'LINKUSDT'
        and hour_ts between '2026-02-02' and '2026-02-19 23:00' group by 1"""
    )
    assert len(hours) == 18
    assert (hours["known"] == 24).all()
    assert (hours["oldest"] <= 15).all()
    assert (hours["least"] > 0).all()


def test_the_long_hole_between_months_is_two_segments_with_reasons(genuine: Genuine):
    spine = genuine.read("select distinct symbol, listing_segment from final_dataset")
    assert sorted(spine[spine["symbol"] == "LINKUSDT"]["listing_segment"]) == [1, 2]
    holes = genuine.read("select * from gaps where dataset = 'klines_1m' and reason is not null")
    link = holes[holes["symbol"] == "LINKUSDT"]
    assert (link["reason"] == "absent_upstream").any()
