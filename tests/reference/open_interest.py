"""Family M: open interest, long/short ratios and the mark/index/premium triad."""

from __future__ import annotations

import numpy as np
import pandas as pd

from .bars import valid_candles
from .common import KEYS, Inputs, candles, divide, premium_candles, sources, table

M_COLUMNS = [
    "oi_open_interest",
    "oi_open_interest_usd",
    "oi_age_minutes",
    "oi_source",
    "oi_delta",
    "oi_delta_over_volume",
    "oi_delta_usd",
    "oi_delta_usd_over_quote_volume",
    "oi_flow_usd",
    "oi_flow_over_quote_volume",
    "oi_turnover",
    "oi_price_quadrant",
    "ls_toptrader_long_short_ratio",
    "ls_toptrader_account_ratio",
    "ls_global_account_ratio",
    "ls_taker_long_short_vol_ratio",
    "taker_vol_ratio_1h",
    "toptrader_position_long_share",
    "toptrader_account_long_share",
    "global_account_long_share",
    "smart_dumb_spread",
    "super_whale_divergence",
    "triad_mark_close",
    "triad_index_close",
    "triad_premium_open",
    "triad_premium_high",
    "triad_premium_low",
    "triad_premium_close",
    "triad_premium_twap",
    "triad_basis",
    "triad_basis_mean",
    "triad_basis_std",
    "triad_mark_basis",
    "triad_last_mark_dev",
]
# input column -> output column of the as-of values
AS_OF = {
    "sum_open_interest": "oi_open_interest",
    "sum_open_interest_value": "oi_open_interest_usd",
    "sum_toptrader_long_short_ratio": "ls_toptrader_long_short_ratio",
    "count_toptrader_long_short_ratio": "ls_toptrader_account_ratio",
    "count_long_short_ratio": "ls_global_account_ratio",
    "sum_taker_long_short_vol_ratio": "ls_taker_long_short_vol_ratio",
}
ZERO_IS_A_VALUE = {"sum_taker_long_short_vol_ratio"}
FIRST_FRESH, LAST_KNOWN = 45, 55  # minutes of the hour: older is stale, younger not yet public
TAIL_MINUTE = 55
MIN_COMMON = 45
# files from this day on label a five-minute period by its start instead of its end
LABEL_CHANGE = pd.Timestamp("2026-06-25")


def snapshots(inputs: Inputs, label_change: pd.Timestamp | None) -> pd.DataFrame:
    """One metrics row per symbol and five minutes, under period-end labels (`label`)."""
    m = table(inputs, "metrics", ["create_time", "file_date"], list(AS_OF))
    m["source"] = sources(inputs, "metrics")
    m["label"] = m["create_time"].dt.floor("5min")
    if label_change is not None:
        late = m["file_date"] >= label_change
        m.loc[late, "label"] += pd.Timedelta(minutes=5)
    # among rows of one label those with OI > 0 win, then the last in (time, file, line) order
    m["alive"] = m["sum_open_interest"] > 0
    m = m.sort_values(["alive", "create_time", "file_date"], kind="stable")
    m = m.drop_duplicates(["symbol", "label"], keep="last")
    m = m.sort_values(["symbol", "label"], ignore_index=True)
    for column in AS_OF:
        if column not in ZERO_IS_A_VALUE:
            m[column] = m[column].where(m[column] != 0)
    m["hour_ts"] = m["label"].dt.floor("h")
    m["minute"] = (m["label"] - m["hour_ts"]).dt.total_seconds() / 60
    return m


def as_of(inputs: Inputs, rows: pd.DataFrame, label_change: pd.Timestamp | None) -> pd.DataFrame:
    """Per field the last value that is fresh and public when the hour closes."""
    m = snapshots(inputs, label_change)
    m = m[m["minute"].between(FIRST_FRESH, LAST_KNOWN)]
    out = rows.copy()
    for source, target in AS_OF.items():
        known = m[m[source].notna()].drop_duplicates(KEYS, keep="last")
        known = known[[*KEYS, source, "minute", "source"]].rename(columns={source: target})
        if target == "oi_open_interest":
            known["oi_age_minutes"] = 60 - known["minute"]
            known["oi_source"] = known["source"]
        known = known.drop(columns=["minute", "source"])
        out = out.merge(known, on=KEYS, how="left", validate="one_to_one")
    return out


def _tail(minutes: pd.DataFrame, value: str, name: str) -> pd.DataFrame:
    """The value of each hour's last minute, if that minute is late enough."""
    late = minutes["open_time"] - minutes["hour_ts"] >= pd.Timedelta(minutes=TAIL_MINUTE)
    last = minutes[late].drop_duplicates(KEYS, keep="last")
    return last[[*KEYS, value]].rename(columns={value: name})


def _gap(a: pd.DataFrame, b: pd.DataFrame) -> pd.DataFrame:
    """(a - b) / b over the minutes that both series have."""
    both = a.merge(b, on=["symbol", "open_time", "hour_ts"], suffixes=("", "_b"))
    both["gap"] = (both["close"] - both["close_b"]) / both["close_b"]
    return both.sort_values(["symbol", "open_time"])


def triad(inputs: Inputs) -> list[pd.DataFrame]:
    """The hourly tables of the triad columns, each with its keys."""
    fields = ["symbol", "open_time", "hour_ts", "close"]
    last = valid_candles(inputs, "klines_1m")[fields]
    mark = candles(inputs, "mark_price_klines_1m", ["close"])
    index = candles(inputs, "index_price_klines_1m", ["close"])
    mark = mark[(mark["close"] > 0) & np.isfinite(mark["close"])]
    index = index[(index["close"] > 0) & np.isfinite(index["close"])]
    premium = premium_candles(inputs)

    path = premium.groupby(KEYS).agg(
        triad_premium_open=("open", "first"),
        triad_premium_high=("high", "max"),
        triad_premium_low=("low", "min"),
        triad_premium_close=("close", "last"),
        triad_premium_twap=("close", "mean"),
        n=("close", "size"),
    )
    path["triad_premium_twap"] = path["triad_premium_twap"].where(path["n"] >= MIN_COMMON)
    basis = _gap(last, index)
    by_hour = basis.groupby(KEYS)["gap"]
    moments = pd.DataFrame({"triad_basis_mean": by_hour.mean(), "triad_basis_std": by_hour.std(0)})
    moments = moments.loc[by_hour.size() >= MIN_COMMON]
    return [
        _tail(mark, "close", "triad_mark_close"),
        _tail(index, "close", "triad_index_close"),
        path.drop(columns="n").reset_index(),
        _tail(basis, "gap", "triad_basis"),
        moments.reset_index(),
        _tail(_gap(mark, index), "gap", "triad_mark_basis"),
        _tail(_gap(last, mark), "gap", "triad_last_mark_dev"),
    ]


def family_m(
    inputs: Inputs,
    rows: pd.DataFrame,
    bars: pd.DataFrame,
    *,
    label_change: pd.Timestamp | None = LABEL_CHANGE,
) -> pd.DataFrame:
    """Family M on the spine's rows; `bars` is family A on the same rows."""
    keys = rows[[*KEYS, "listing_segment"]]
    m = as_of(inputs, keys, label_change).merge(bars, on=KEYS, how="left", validate="one_to_one")
    segment = m.groupby(["symbol", "listing_segment"])
    m["oi_delta"] = segment["oi_open_interest"].diff()
    m["oi_delta_over_volume"] = divide(m["oi_delta"], m["volume"])
    m["oi_delta_usd"] = segment["oi_open_interest_usd"].diff()
    m["oi_delta_usd_over_quote_volume"] = divide(m["oi_delta_usd"], m["quote_volume"])
    m["oi_flow_usd"] = m["oi_delta"] * m["vwap_quote"]
    m["oi_flow_over_quote_volume"] = divide(m["oi_flow_usd"], m["quote_volume"])
    m["oi_turnover"] = divide(m["quote_volume"], m["oi_open_interest_usd"])
    price = np.sign(m["close"] - m["open"])
    stakes = np.sign(m["oi_delta"])
    m["oi_price_quadrant"] = np.nan
    for number, (p, s) in {1: (1, 1), 2: (1, -1), 3: (-1, 1), 4: (-1, -1)}.items():
        m.loc[(price == p) & (stakes == s), "oi_price_quadrant"] = float(number)
    sold = m["quote_volume"] - m["taker_buy_quote_volume"]
    m["taker_vol_ratio_1h"] = divide(m["taker_buy_quote_volume"], sold)
    position = m["ls_toptrader_long_short_ratio"] / (1 + m["ls_toptrader_long_short_ratio"])
    account = m["ls_toptrader_account_ratio"] / (1 + m["ls_toptrader_account_ratio"])
    everyone = m["ls_global_account_ratio"] / (1 + m["ls_global_account_ratio"])
    m["toptrader_position_long_share"] = position
    m["toptrader_account_long_share"] = account
    m["global_account_long_share"] = everyone
    m["smart_dumb_spread"] = position - everyone
    m["super_whale_divergence"] = position - account
    for hourly in triad(inputs):
        m = m.merge(hourly, on=KEYS, how="left", validate="one_to_one")
    return m[KEYS + M_COLUMNS]
