"""Family X against rows worked out by hand."""

from __future__ import annotations

from math import log
from typing import Any

import numpy as np
import pandas as pd
import pytest

from . import COLUMNS, family_x
from .test_reference import at, build, candle, column, hours_of, same, tables

LN2 = log(2)
Rows = list[dict[str, Any]]


def row(hour: int, close: float | None = 100.0, **over: Any) -> dict[str, Any]:
    """A spine row with a bar of one price and one dollar of volume; no price is no bar."""
    bar = close is not None
    return {
        "symbol": "AAA",
        "hour_ts": at(hour),
        "has_bar": int(bar),
        "listing_segment": 1,
        "high": close,
        "low": close,
        "close": close,
        "quote_volume": 1.0 if bar else None,
        "rv_std_sqrt60": 0.5 if bar else None,
    } | over


def wide(rows: Rows) -> pd.DataFrame:
    numbers = ["high", "low", "close", "quote_volume", "rv_std_sqrt60"]
    frame = pd.DataFrame(rows).astype(dict.fromkeys(numbers, "float64"))
    keys = ["symbol", "hour_ts"]
    return family_x(
        frame[[*keys, "has_bar", "listing_segment"]],
        frame[[*keys, "high", "low", "close", "quote_volume"]],
        frame[[*keys, "rv_std_sqrt60"]],
    )


def test_columns_and_no_rows() -> None:
    assert list(wide([row(0)])) == ["symbol", "hour_ts", *COLUMNS["X"]]
    assert wide([row(0)]).drop(columns=["symbol", "hour_ts"]).notna().sum().sum() == 2


def test_returns_need_a_bar_at_both_ends() -> None:
    frame = wide([row(0), row(1, 200.0), row(2, None), row(3, 400.0), row(4, 50.0)])
    assert same(column(frame, "returns_1h"), [None, LN2, None, None, -3 * LN2])


@pytest.mark.parametrize("n", [24, 168])
def test_longer_returns(n: int) -> None:
    frame = wide([row(h, 100.0 * 2 ** (h // n)) for h in range(n + 2)])
    assert same(column(frame, f"returns_{n}h"), [None] * n + [LN2, LN2])
    gone = [row(h, None if h == 0 else 100.0 * 2 ** (h // n)) for h in range(n + 2)]
    assert same(column(wide(gone), f"returns_{n}h"), [None] * (n + 1) + [LN2])


def test_nothing_crosses_a_segment() -> None:
    rows = [row(h, listing_segment=1 + (h >= 20)) for h in range(40)]
    rows[19] |= {"close": 50.0, "high": 50.0, "low": 50.0}
    frame = wide(rows)
    assert frame["returns_1h"].isna().to_numpy().nonzero()[0].tolist() == [0, 20]
    assert frame["returns_24h"].isna().all()
    known = [*range(17, 20), *range(37, 40)]
    assert frame["turnover_ratio"].notna().to_numpy().nonzero()[0].tolist() == known
    # in the first segment a true range of 50 at its end, in the second none at all
    efficiency = column(frame, "price_efficiency")
    assert efficiency[19] == pytest.approx(0.5 / (50 / 20 / 50))
    assert np.isnan(efficiency[37])


def test_turnover_against_the_day() -> None:
    frame = wide([row(h, quote_volume=1.0 + 2 * (h == 17)) for h in range(42)])
    got = column(frame, "turnover_ratio")
    assert same(got[:18], [None] * 17 + [3 / (20 / 18)])
    assert same(got[23:25], [1 / (26 / 24)] * 2)
    assert same(got[40:], [1 / (26 / 24), 1])  # row 17 is last seen by row 40


def test_turnover_without_money_or_bars() -> None:
    assert wide([row(h, quote_volume=0.0) for h in range(20)])["turnover_ratio"].isna().all()
    rows = [row(h, None if h in (3, 5, 19) else 100.0) for h in range(21)]
    got = column(wide(rows), "turnover_ratio")
    assert same(got[17:], [None, None, None, 1])  # the 18th bar is that of row 20


def test_true_range_bridges_hours_without_a_bar() -> None:
    rows = [row(h) for h in range(18)]
    rows[0] |= {"high": 104.0, "low": 98.0}  # the first bar: high - low = 6
    rows[1] |= {"high": 103.0, "low": 99.0}  # 4
    rows[2] = row(2, None)
    rows[3] |= {"high": 120.0, "low": 110.0, "close": 110.0}  # |120 - 100| = 20
    rows[4] |= {"high": 100.0, "low": 95.0}  # |95 - 110| = 15
    frame = wide([*rows, row(18, 50.0)])  # |50 - 100| = 50, the 18th bar
    mean = (6 + 4 + 20 + 15 + 50) / 18
    assert same(column(frame, "price_efficiency"), [None] * 18 + [0.5 / (mean / 50)])


def test_constant_price_has_no_efficiency() -> None:
    frame = wide([row(h, rv_std_sqrt60=0.0) for h in range(130)])
    assert frame[["price_efficiency", "vol_regime"]].isna().to_numpy().all()
    assert same(column(frame, "returns_1h")[1:], [0] * 129)


def test_no_efficiency_without_a_bar_or_minutes() -> None:
    rows = [row(h, high=110.0) for h in range(20)]
    rows[18] = row(18, None)
    rows[19] |= {"rv_std_sqrt60": None}
    got = column(wide(rows), "price_efficiency")
    assert same(got, [None] * 17 + [0.5 / (10 / 100), None, None])


def test_volatility_against_the_week() -> None:
    rows = [row(h, rv_std_sqrt60=1.0) for h in range(169)]
    rows[125] |= {"rv_std_sqrt60": 2.0}
    rows[0] |= {"rv_std_sqrt60": 3.0}
    got = column(wide(rows), "vol_regime")
    assert same(got[:126], [None] * 125 + [2 * 126 / 129])
    assert same(got[167:], [168 / 171, 168 / 169])
    rows[10] |= {"rv_std_sqrt60": None}
    got = column(wide(rows), "vol_regime")
    assert same(got[125:127], [None, 126 / 129])


def market(hour: int, money: list[float | None]) -> Rows:
    return [
        row(hour, None if m is None else 100.0, quote_volume=m, symbol=f"S{i:02}")
        for i, m in enumerate(money)
    ]


def test_attention_needs_ten_symbols() -> None:
    frame = wide([*market(0, [2.0] * 9), *market(1, [2.0] * 9 + [12.0])])
    frame = frame.set_index(["hour_ts", "symbol"])["relative_volume"]
    assert frame[at(0)].isna().all()
    assert frame[at(1)].tolist() == pytest.approx([2 / 3] * 9 + [4])


def test_attention_counts_only_symbols_with_a_bar() -> None:
    frame = wide(market(0, [1.0] * 9 + [11.0, None]))
    assert same(frame["relative_volume"].tolist(), [0.5] * 9 + [5.5, None])
    assert wide(market(0, [1.0] * 9 + [None, None]))["relative_volume"].isna().all()
    assert wide(market(0, [0.0] * 12))["relative_volume"].isna().all()


def test_breadth() -> None:
    frame = wide([*market(0, [1.0, None, 1.0, None]), *market(1, [None, None])])
    assert frame["cs_universe_size"].tolist() == [2, 2, 2, 2, 0, 0]
    assert frame["cs_coverage_frac"].tolist() == [0.5] * 4 + [0, 0]


def test_order_of_the_rows_is_kept() -> None:
    rows = [row(h, 100.0 + h) for h in range(30)]
    other = [r | {"symbol": "BBB"} for r in rows]
    frame = wide(other + rows)
    assert frame["symbol"].tolist() == ["BBB"] * 30 + ["AAA"] * 30
    assert same(frame["returns_1h"].tolist()[:30], frame["returns_1h"].tolist()[30:])


def test_from_candles() -> None:
    # an hour from the hourly archive has a bar but no minutes, so no volatility of its own
    klines = [candle(at(h, m), 100.0 + m % 2) for h in range(19) for m in range(60) if h != 18]
    frames = build(tables([*klines, candle(at(20))], klines_1h=hours_of([18])), 20, families="X")
    x = frames["X"]
    assert x[["symbol", "hour_ts"]].equals(frames["T"][["symbol", "hour_ts"]])
    assert column(x, "cs_universe_size") == [1] * 19 + [0]
    assert x["price_efficiency"].notna().to_numpy().nonzero()[0].tolist() == [17]
    # ends at 101, so hour 18 (100) is a fall; its range counts all the same
    assert column(x, "returns_1h")[18] == pytest.approx(log(100 / 101))
    money = sum(100.0 + m % 2 for m in range(60))
    assert column(x, "turnover_ratio")[18] == pytest.approx(100 / ((18 * money + 100) / 19))
