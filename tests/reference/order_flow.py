"""Family F, straight from the tape: who attacked, how hard, and with what size of trade."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from .common import HOUR, KEYS, MINUTE, Floats, Inputs, divide, segments

F_COLUMNS = [
    "at_trade_count",
    "at_base_volume",
    "at_quote_volume",
    "at_vwap",
    "taker_buy_qty",
    "taker_sell_qty",
    "taker_buy_quote",
    "taker_sell_quote",
    "taker_buy_trade_count",
    "taker_sell_trade_count",
    "cvd_qty",
    "cvd_quote",
    "cvd_quote_24h",
    "imbalance_quote",
    "imbalance_ratio_quote",
    "count_imbalance",
    "tw_cvd_quote_norm",
    "tw_cvd_imbalance",
    "avg_trade_quote",
    "avg_trade_base",
    "taker_buy_avg_trade_quote",
    "taker_sell_avg_trade_quote",
    "taker_buy_hhi_quote",
    "taker_sell_hhi_quote",
    "at_price_change",
    "cvd_per_abs_price_change",
    "whale_thr_quote",
    "retail_thr_quote",
    "size_thr_n_trades",
    "whale_thr_q_eff",
    "retail_thr_q_eff",
    "whale_buy_quote",
    "whale_sell_quote",
    "whale_cvd_quote",
    "whale_buy_count",
    "whale_sell_count",
    "whale_share_quote",
    "whale_imbalance",
    "retail_buy_quote",
    "retail_sell_quote",
    "retail_cvd_quote",
    "retail_buy_count",
    "retail_sell_count",
    "retail_share_quote",
    "retail_imbalance",
    "whale50k_cvd_quote",
    "retail1k_cvd_quote",
]
THRESHOLDS = [
    "whale_thr_quote",
    "retail_thr_quote",
    "size_thr_n_trades",
    "whale_thr_q_eff",
    "retail_thr_q_eff",
]
TICK_COLUMNS = [
    "symbol",
    "file",
    "agg_trade_id",
    "price",
    "quantity",
    "first_trade_id",
    "last_trade_id",
    "transact_time",
    "is_buyer_maker",
]
BINS_PER_DECADE = 10
SMALLEST_BIN, LARGEST_BIN = -1, 8 * BINS_PER_DECADE
LEAST_TRADES = 2000
LEAST_DAYS = 4
FROM_50K = 47  # the bin that begins at 50,119 USDT
FROM_1K = 30
DAY_ROWS = 24
DAY_LEAST = 18


def read_ticks(inputs: Inputs) -> pd.DataFrame:
    """The ticks in file order; an absent input is an empty one."""
    frame = inputs.get("agg_trades", pd.DataFrame(columns=TICK_COLUMNS))
    whole = ["agg_trade_id", "first_trade_id", "last_trade_id"]
    kinds = dict.fromkeys(whole, "int64") | dict.fromkeys(["price", "quantity"], "float64")
    kinds |= {"symbol": "object", "transact_time": "datetime64[us]", "is_buyer_maker": "bool"}
    return frame[TICK_COLUMNS].reset_index(drop=True).astype(kinds)


def sound_ticks(ticks: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The sound and the bad ticks, each by id within its file; the first of equal ids counts.

    A file is a listing: ids may begin anew in another one.
    """
    kept = ticks.drop_duplicates(["symbol", "file", "agg_trade_id"], keep="first")
    kept = kept.sort_values(["symbol", "file", "agg_trade_id"], ignore_index=True)
    price, quantity = kept["price"], kept["quantity"]
    sound = (price > 0) & (quantity > 0) & np.isfinite(price) & np.isfinite(quantity)
    return kept[sound].copy(), kept[~sound].copy()


def _sums(sound: pd.DataFrame, time: str) -> pd.DataFrame:
    """Totals, and sums by side (zero where a side is silent), of every symbol and `time`."""
    quote = sound["price"] * sound["quantity"]
    pieces = sound[["symbol", time]].assign(
        side=np.where(sound["is_buyer_maker"], "sell", "buy"),
        qty=sound["quantity"],
        quote=quote,
        quote_sq=quote**2,
        count=1,
        raw=sound["last_trade_id"] - sound["first_trade_id"] + 1,
    )
    by_side = pieces.groupby(["symbol", time, "side"])
    sides = by_side[["qty", "quote", "quote_sq", "count", "raw"]].sum()
    sides = sides.unstack("side", fill_value=0)
    largest = by_side["quote"].max().unstack("side")
    out = pd.DataFrame(index=sides.index)
    for side in ("buy", "sell"):
        for name in ("qty", "quote", "count", "quote_sq", "raw"):
            out[f"{side}_{name}"] = sides.get((name, side), 0)
        out[f"{side}_max_quote"] = largest.get(side, np.nan)
    out["trade_count"] = out["buy_count"] + out["sell_count"]
    out["raw_trade_count"] = out["buy_raw"] + out["sell_raw"]
    out["base_volume"] = out["buy_qty"] + out["sell_qty"]
    out["quote_volume"] = out["buy_quote"] + out["sell_quote"]
    prices = sound.groupby(["symbol", time])["price"]
    out["price_first"] = prices.first()
    out["price_last"] = prices.last()
    out["price_high"] = prices.max()
    out["price_low"] = prices.min()
    return out.drop(columns=["buy_raw", "sell_raw"])


def tick_minutes(ticks: pd.DataFrame) -> pd.DataFrame:
    """The tape in minutes: sums over sound ticks, ids and times over all that are kept.

    A minute in which only dropped duplicates fell has neither ids nor times.
    """
    ticks = ticks.assign(minute_ts=ticks["transact_time"].dt.floor("min"))
    keys = ["symbol", "minute_ts"]
    sound, bad = sound_ticks(ticks)
    sums = _sums(sound, "minute_ts")
    kept = pd.concat([sound, bad]).sort_values(["symbol", "file", "agg_trade_id"])
    by_minute = kept.groupby(keys)
    out = pd.DataFrame(index=ticks.groupby(keys).size().index).join(sums)
    counts = [c for c in sums if c.endswith("count")]
    volumes = [c for c in sums if c.endswith(("volume", "qty", "_quote", "_sq"))]
    volumes = [c for c in volumes if not c.endswith("max_quote")]
    out = out.fillna(dict.fromkeys(counts + volumes, 0)).astype(dict.fromkeys(counts, "int64"))
    for end in ("first", "last"):
        for name in ("transact_time", "agg_trade_id"):
            out[f"{end}_{name}"] = getattr(by_minute[name], end)()
    again = ticks.duplicated(["symbol", "file", "agg_trade_id"], keep="first")
    highest = ticks.groupby(["symbol", "file"])["agg_trade_id"].cummax()
    behind = ticks["agg_trade_id"] < highest
    seen = {"n_bad": bad, "n_duplicates": ticks[again], "n_out_of_order": ticks[behind]}
    for name, counted in seen.items():
        out[name] = counted.groupby(keys).size().reindex(out.index, fill_value=0).astype("int64")
    return out.reset_index()


def size_counts(sound: pd.DataFrame) -> pd.DataFrame:
    """Number and value of the trades of each size: one row per symbol, hour, side and bin."""
    quote = sound["price"] * sound["quantity"]
    size = np.floor(BINS_PER_DECADE * np.log10(quote) + 1e-9)
    pieces = pd.DataFrame(
        {
            "symbol": sound["symbol"],
            "hour_ts": sound["transact_time"].dt.floor("h"),
            "side": np.where(sound["is_buyer_maker"], "S", "B"),
            "bin": size.clip(SMALLEST_BIN, LARGEST_BIN).astype("int64"),
            "quote": quote,
        }
    )
    by_bin = pieces.groupby(["symbol", "hour_ts", "side", "bin"])["quote"]
    out: pd.DataFrame = by_bin.agg(n="size", quote="sum").reset_index()
    return out


def trade_sizes(ticks: pd.DataFrame) -> pd.DataFrame:
    """The sizes of trades, three parallel lists per symbol, hour and side."""
    sound, _ = sound_ticks(ticks)
    by_side = size_counts(sound).groupby(["symbol", "hour_ts", "side"])
    out: pd.DataFrame = by_side[["bin", "n", "quote"]].agg(list).reset_index()
    return out


def _edge(counts: pd.Series[int], q: float) -> tuple[int, float]:
    """First bin whose cumulative share of all trades reaches `q`, and that share."""
    share = counts.sort_index().cumsum() / counts.sum()
    reached = share[share >= q]
    return int(reached.index[0]), float(reached.iloc[0])


def size_thresholds(
    sizes: pd.DataFrame, rows: pd.DataFrame, *, whale_q: float, retail_q: float, window_days: int
) -> pd.DataFrame:
    """Per segment and day of the spine: the thresholds, and the bins that they are the ends of.

    Trades count from the hours of the same listing segment only.
    """
    listing = ["symbol", "listing_segment"]
    own = sizes.merge(rows[[*KEYS, "listing_segment"]], on=KEYS)
    own["day"] = own["hour_ts"].dt.floor("D")
    daily = own.groupby([*listing, "day", "bin"])["n"].sum().reset_index()
    history = dict(list(daily.groupby(listing)))
    days = rows[listing].assign(day=rows["hour_ts"].dt.floor("D")).drop_duplicates()
    records = []
    for symbol, segment, day in days.itertuples(index=False):
        record = {"symbol": symbol, "listing_segment": segment, "day": day}
        past = history.get((symbol, segment), daily.iloc[:0])
        past = past[past["day"].between(day - window_days * DAY_ROWS * HOUR, day - HOUR)]
        record["size_thr_n_trades"] = past["n"].sum()
        if past["n"].sum() >= LEAST_TRADES and past["day"].nunique() >= LEAST_DAYS:
            counts = past.groupby("bin")["n"].sum()
            for who, q in (("whale", whale_q), ("retail", retail_q)):
                last, share = _edge(counts, q)
                record[f"{who}_bin"] = last
                record[f"{who}_thr_quote"] = 10 ** ((last + 1) / BINS_PER_DECADE)
                record[f"{who}_thr_q_eff"] = share
        records.append(record)
    names = [*listing, "day", *THRESHOLDS, "whale_bin", "retail_bin"]
    kinds = {"symbol": "object", "listing_segment": "int64", "day": "datetime64[us]"}
    return pd.DataFrame(records, columns=names).astype(kinds | dict.fromkeys(names[3:], "float64"))


def _late_weights(sound: pd.DataFrame) -> pd.DataFrame:
    """Net and total value of every hour, minute m weighing m + 1."""
    minutes = _sums(sound, "minute_ts").reset_index()
    minutes["hour_ts"] = minutes["minute_ts"].dt.floor("h")
    weight = (minutes["minute_ts"] - minutes["hour_ts"]) // MINUTE + 1
    minutes["late_cvd"] = weight * (minutes["buy_quote"] - minutes["sell_quote"])
    minutes["late_quote"] = weight * minutes["quote_volume"]
    out: pd.DataFrame = minutes.groupby(KEYS)[["late_cvd", "late_quote"]].sum()
    return out


def _part_of_sizes(sizes: pd.DataFrame, name: str) -> pd.DataFrame:
    """Value and number by side of the trades in `sizes`, per hour."""
    sums = sizes.groupby([*KEYS, "side"])[["quote", "n"]].sum().unstack("side", fill_value=0)
    out = pd.DataFrame(index=sums.index)
    for letter, side in (("B", "buy"), ("S", "sell")):
        out[f"{name}_{side}_quote"] = sums.get(("quote", letter), 0.0)
        out[f"{name}_{side}_count"] = sums.get(("n", letter), 0)
    out[f"{name}_cvd_quote"] = out[f"{name}_buy_quote"] - out[f"{name}_sell_quote"]
    return out


def _day_sums(x: pd.Series[float], rows: pd.DataFrame) -> Floats:
    """Sum over the 24 rows that end here, inside the segment, where 18 of them are known."""
    out = pd.Series(np.nan, index=rows.index)
    for _, part in segments(rows):
        own = x.loc[part.index].to_numpy()
        for i, at in enumerate(part.index):
            frame = own[max(0, i - DAY_ROWS + 1) : i + 1]
            frame = frame[~np.isnan(frame)]
            if len(frame) >= DAY_LEAST:
                out[at] = frame.sum()
    return out.to_numpy()


def _on(rows: pd.DataFrame, *parts: pd.DataFrame) -> pd.DataFrame:
    """The parts beside each other on the rows' symbols and hours, zero where nothing traded."""
    out = rows[KEYS].copy()
    for part in parts:
        out = out.merge(part.reset_index(), on=KEYS, how="left", validate="one_to_one")
    prices: Sequence[str] = ("price_first", "price_last")
    zeros = {c: 0.0 for c in out if c not in KEYS and c not in prices}
    return out.fillna(zeros).set_index(rows.index)


def family_f(
    inputs: Inputs,
    rows: pd.DataFrame,
    *,
    whale_q: float = 0.99,
    retail_q: float = 0.50,
    window_days: int = 7,
) -> pd.DataFrame:
    """Family F on the spine's rows; `tick_days` says which days of which symbol are covered."""
    ticks = read_ticks(inputs)
    sound, _ = sound_ticks(ticks)
    sound["minute_ts"] = sound["transact_time"].dt.floor("min")
    sound["hour_ts"] = sound["transact_time"].dt.floor("h")
    sizes = size_counts(sound)

    days = rows[["symbol", "listing_segment"]].assign(day=rows["hour_ts"].dt.floor("D"))
    thresholds = size_thresholds(
        sizes, rows, whale_q=whale_q, retail_q=retail_q, window_days=window_days
    )
    limits = days.merge(thresholds, on=list(days), how="left", validate="many_to_one")
    limits.index = rows.index
    bounds = limits[["whale_bin", "retail_bin"]].assign(**rows[KEYS])
    sizes = sizes.merge(bounds, on=KEYS)
    size = sizes["bin"]
    x = _on(
        rows,
        _sums(sound, "hour_ts"),
        _late_weights(sound),
        _part_of_sizes(sizes[size > sizes["whale_bin"]], "whale"),
        _part_of_sizes(sizes[size <= sizes["retail_bin"]], "retail"),
        _part_of_sizes(sizes[size >= FROM_50K], "whale50k"),
        _part_of_sizes(sizes[size < FROM_1K], "retail1k"),
    )

    f = pd.DataFrame(index=rows.index)
    f["at_trade_count"] = x["trade_count"]
    f["at_base_volume"] = x["base_volume"]
    f["at_quote_volume"] = x["quote_volume"]
    f["at_vwap"] = divide(x["quote_volume"], x["base_volume"])
    for side in ("buy", "sell"):
        f[f"taker_{side}_qty"] = x[f"{side}_qty"]
        f[f"taker_{side}_quote"] = x[f"{side}_quote"]
        f[f"taker_{side}_trade_count"] = x[f"{side}_count"]
        f[f"taker_{side}_avg_trade_quote"] = divide(x[f"{side}_quote"], x[f"{side}_count"])
        f[f"taker_{side}_hhi_quote"] = divide(x[f"{side}_quote_sq"], x[f"{side}_quote"] ** 2)
    f["cvd_qty"] = x["buy_qty"] - x["sell_qty"]
    f["cvd_quote"] = x["buy_quote"] - x["sell_quote"]
    f["imbalance_quote"] = divide(f["cvd_quote"], x["buy_quote"] + x["sell_quote"])
    f["imbalance_ratio_quote"] = f["imbalance_quote"].abs()
    f["count_imbalance"] = divide(
        x["buy_count"] - x["sell_count"], x["buy_count"] + x["sell_count"]
    )
    f["tw_cvd_quote_norm"] = x["late_cvd"] / sum(range(1, 61))
    f["tw_cvd_imbalance"] = divide(x["late_cvd"], x["late_quote"])
    f["avg_trade_quote"] = divide(x["quote_volume"], x["trade_count"])
    f["avg_trade_base"] = divide(x["base_volume"], x["trade_count"])
    f["at_price_change"] = x["price_last"] - x["price_first"]
    f["cvd_per_abs_price_change"] = divide(f["cvd_quote"], f["at_price_change"].abs())
    for who in ("whale", "retail"):
        both = x[f"{who}_buy_quote"] + x[f"{who}_sell_quote"]
        own = {
            f"{who}_{name}": x[f"{who}_{name}"]
            for name in ("buy_quote", "sell_quote", "cvd_quote", "buy_count", "sell_count")
        } | {
            f"{who}_share_quote": divide(both, x["quote_volume"]),
            f"{who}_imbalance": divide(x[f"{who}_cvd_quote"], both),
        }
        known = limits[f"{who}_bin"].notna()
        for name, values in own.items():
            f[name] = values.where(known)
    f["whale50k_cvd_quote"] = x["whale50k_cvd_quote"]
    f["retail1k_cvd_quote"] = x["retail1k_cvd_quote"]

    f = f.where(covered_hours(inputs, rows))
    f["cvd_quote_24h"] = _day_sums(f["cvd_quote"], rows)
    f[THRESHOLDS] = limits[THRESHOLDS]
    return pd.concat([rows[KEYS], f[F_COLUMNS].astype("float64")], axis=1)


def covered_hours(inputs: Inputs, rows: pd.DataFrame) -> pd.Series[bool]:
    """Which rows lie in a day whose ticks are known."""
    covered: set[tuple[str, pd.Timestamp]] = set()
    if "tick_days" in inputs:
        days = inputs["tick_days"]
        covered = set(zip(days["symbol"], pd.to_datetime(days["day"]), strict=True))
    own = zip(rows["symbol"], rows["hour_ts"].dt.floor("D"), strict=True)
    return pd.Series([key in covered for key in own], index=rows.index, dtype="bool")
