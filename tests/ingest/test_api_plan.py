"""What a pull asks for: pure functions over spans, checked against sets of minutes."""

from __future__ import annotations

import asyncio
import time
from datetime import date, datetime, timedelta
from itertools import pairwise

import pandas as pd
import pyarrow as pa
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ingest.api import Holdings, pages, plan
from ingest.config import PROJECT_ROOT
from ingest.datasets import METRICS_START_LABELS_FROM, VISION
from ingest.lake import Lake, LandingLog
from ingest.sources.binance_api import ENDPOINTS, Limiter, Waiting
from ingest.spans import by_month, clip, from_log, to_log, union_spans, without
from tests.lakes import land_partition, minute_bars

DAY = datetime(2024, 3, 11)
NOW = DAY + timedelta(hours=5, minutes=59, seconds=30)
MINUTE = timedelta(minutes=1)


def moment(minutes: int) -> datetime:
    return DAY + minutes * MINUTE


def ask(
    dataset="klines_1m",
    start=DAY,
    end=DAY + timedelta(days=1),
    *,
    archived=(),
    answered=(),
    listed=None,
):
    pulls = plan(
        [dataset], ["BTCUSDT"], start, end, NOW,
        listed={"BTCUSDT": listed},
        archived=lambda *_: archived,
        answered=lambda _: answered,
    )  # fmt: skip
    return {p.month: list(p.spans) for p in pulls}


def test_only_closed_bars_are_asked_for():
    assert ask() == {"2024-03": [(DAY, moment(359))]}
    assert ask("klines_1h") == {"2024-03": [(DAY, moment(300))]}


def test_a_label_at_the_end_of_its_period_may_be_now():
    assert ask("open_interest_5m") == {"2024-03": [(DAY, moment(360))]}, "05:55 is the last label"


def test_what_the_archive_or_an_earlier_pull_brought_is_not_asked_for():
    archived = [(moment(0), moment(60)), (moment(70), moment(80))]
    answered = [(moment(100), moment(359))]
    spans = [(moment(60), moment(70)), (moment(80), moment(100))]
    assert ask(archived=archived, answered=answered) == {"2024-03": spans}
    assert ask(archived=[(DAY - timedelta(days=1), NOW)]) == {}


def test_nothing_is_asked_for_before_the_listing_or_out_of_reach():
    assert ask(listed=moment(120)) == {"2024-03": [(moment(120), moment(359))]}
    early = datetime(2024, 1, 1)
    assert list(ask(start=early)) == ["2024-01", "2024-02", "2024-03"]
    reached = ask("open_interest_5m", start=early)
    assert list(reached) == ["2024-02", "2024-03"]
    oldest = reached["2024-02"][0][0]
    assert timedelta(days=30) - timedelta(minutes=10) < NOW - oldest < timedelta(days=30)
    assert oldest.minute % 5 == oldest.second == 0


def test_pages_are_of_a_size_that_one_answer_holds():
    endpoint = ENDPOINTS["klines_1m"]
    span = (moment(0), moment(2 * endpoint.page + 1))
    got = pages(endpoint, span)
    assert [b - a for a, b in got] == [endpoint.page * MINUTE] * 2 + [MINUTE]
    assert got[0][0] == span[0]
    assert got[-1][1] == span[1]
    assert all(a[1] == b[0] for a, b in pairwise(got))
    assert pages(ENDPOINTS["funding_rate"], span) == [span]


some_spans = st.lists(
    st.tuples(st.integers(0, 80), st.integers(0, 80)).map(
        lambda ends: (moment(min(ends)), moment(max(ends)))
    ),
    max_size=6,
)


def minutes_of(spans) -> set[datetime]:
    return {m for a, b in spans for i in range(81) if a <= (m := moment(i)) < b}


@given(some_spans, some_spans)
def test_spans_are_sets_of_moments(a, b):
    union, rest, inside = union_spans([*a, *b]), without(a, b), clip(a, moment(20), moment(50))
    assert minutes_of(union) == minutes_of(a) | minutes_of(b)
    assert minutes_of(rest) == minutes_of(a) - minutes_of(b)
    assert minutes_of(inside) == minutes_of(a) & minutes_of([(moment(20), moment(50))])
    for spans in (union, rest, inside):
        assert all(x < y for x, y in spans)
        assert all(x[1] < y[0] for x, y in pairwise(spans))
    assert from_log(to_log(union)) == union


def test_spans_are_cut_at_month_ends():
    span = (datetime(2024, 1, 31, 23), datetime(2024, 3, 1, 1))
    assert by_month([span]) == {
        "2024-01": [(span[0], datetime(2024, 2, 1))],
        "2024-02": [(datetime(2024, 2, 1), datetime(2024, 3, 1))],
        "2024-03": [(datetime(2024, 3, 1), span[1])],
    }


@pytest.mark.parametrize("cost", [1, 3])
def test_a_limit_holds_in_every_window(cost: int):
    seconds, capacity, times = 0.25, 12, []

    async def one(limiter: Limiter) -> None:
        await limiter.take(cost)
        times.append(time.monotonic())

    async def many() -> None:
        limiter = Limiter(capacity, seconds, Waiting())
        await asyncio.gather(*(one(limiter) for _ in range(40 // cost)))

    asyncio.run(many())
    most = max(sum(cost for t in times if s <= t < s + seconds) for s in times)
    assert most <= capacity
    assert most > capacity - cost, "and it is used"


def test_a_blocked_limiter_lets_nothing_through():
    async def blocked() -> float:
        limiter = Limiter(10, 60, Waiting())
        limiter.block(0.2)
        started = time.monotonic()
        await limiter.take(1)
        return time.monotonic() - started

    assert asyncio.run(blocked()) >= 0.2


# --------------------------------------------------------------------- what the archive holds
def test_holdings_are_the_moments_that_a_partition_has(tmp_path):
    lake = Lake(tmp_path)
    lake.prepare("sandbox")
    log = LandingLog(lake.log_folder, "vision")
    rows = pd.DataFrame({"open_time": [moment(m) for m in (0, 1, 2, 5, 6, 9)]})
    rows = rows.assign(open=1.0, high=1.0, low=1.0, close=1.0, volume=1.0)
    table = pa.Table.from_pandas(minute_bars("BTCUSDT", rows), preserve_index=False)
    land_partition(lake, log, "klines_1m", "BTCUSDT", "2024-03", table)
    log.close()
    spans = Holdings(lake).spans("klines_1m", "BTCUSDT", "2024-03")
    assert spans == [(moment(0), moment(3)), (moment(5), moment(7)), (moment(9), moment(10))]
    assert Holdings(lake).spans("klines_1m", "ETHUSDT", "2024-03") == []
    lake.partition(VISION["klines_1m"], "BTCUSDT", "2024-03").unlink()
    assert Holdings(lake).spans("klines_1m", "BTCUSDT", "2024-03") == [], "the file is gone"


@pytest.mark.parametrize(("first", "later"), [(date(2026, 6, 24), 0), (date(2026, 6, 25), 5)])
def test_metrics_hold_what_has_a_value_at_the_end_of_its_five_minutes(tmp_path, first, later):
    lake = Lake(tmp_path)
    lake.prepare("sandbox")
    log = LandingLog(lake.log_folder, "vision")
    day = datetime.combine(first, datetime.min.time())
    labels = [day + timedelta(minutes=5 * i, seconds=i) for i in range(6)]
    values = {
        "sum_open_interest": [1.0, 0.0, None, 1.0, 1.0, 1.0],
        "sum_taker_long_short_vol_ratio": [1.0, 0.0, None, 1.0, 1.0, 1.0],
    }
    frame = pd.DataFrame({"create_time": labels, "file_date": first, "file_row": range(6)} | values)
    for name in VISION["metrics"].schema.names:
        frame[name] = frame.get(name, 1.0)
    table = pa.Table.from_pandas(frame, preserve_index=False)
    land_partition(lake, log, "metrics", "BTCUSDT", "2026-06", table)
    log.close()

    def at(*slots: int):
        ends = [day + timedelta(minutes=5 * s + later) for s in slots]
        return union_spans((e, e + timedelta(minutes=5)) for e in ends)

    holdings = Holdings(lake)
    assert holdings.spans("open_interest_5m", "BTCUSDT", "2026-06") == at(0, 3, 4, 5)
    assert holdings.spans("taker_ratio_5m", "BTCUSDT", "2026-06") == at(0, 1, 3, 4, 5)


def test_the_day_of_the_new_labels_is_that_of_the_models():
    project = yaml.safe_load((PROJECT_ROOT / "dbt_project.yml").read_text())
    assert project["vars"]["metrics_start_labels_from"] == str(METRICS_START_LABELS_FROM)
