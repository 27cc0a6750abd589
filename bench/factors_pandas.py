"""Families D and E of one symbol, the straightforward way: a function of one hour, hour by hour.

Whatever pandas aggregates in one call is a groupby; the rest is a function of one hour, which
is here twice: with the methods of pandas, as such pipelines are written, and in numpy, which is
faster.
Rows are the hours with any minute, taken as contiguous.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from bench.factor_columns import (
    COLUMNS,
    D_COLUMNS,
    E_COLUMNS,
    MIN_MINUTES,
    MIN_PAIRS,
    us_open_windows,
)

NAN = float("nan")
BINS = 25


def _constant(x: np.ndarray) -> bool:
    return bool(x.min() == x.max())


def _corr(x: np.ndarray, y: np.ndarray) -> float:
    """Pearson correlation; NaN below 40 pairs or when a side is constant."""
    if len(x) < MIN_PAIRS or _constant(x) or _constant(y):
        return NAN
    dx, dy = x - x.mean(), y - y.mean()
    return float((dx * dy).sum() / np.sqrt((dx**2).sum() * (dy**2).sum()))


def _regression(y: np.ndarray, x: np.ndarray) -> tuple[float, float]:
    """Slope and R² of y on x; a constant y has slope 0 and no R²."""
    if _constant(y):
        return 0.0, NAN
    dx, dy = x - x.mean(), y - y.mean()
    sxy, sxx, syy = (dx * dy).sum(), (dx**2).sum(), (dy**2).sum()
    return float(sxy / sxx), float(sxy**2 / (sxx * syy))


def _shape(x: np.ndarray) -> tuple[float, float, float]:
    """Sample skewness G1, sample excess kurtosis G2, population skewness over raw kurtosis."""
    if _constant(x):
        return NAN, NAN, NAN
    n = len(x)
    d = x - x.mean()
    m2, m3, m4 = (d**2).mean(), (d**3).mean(), (d**4).mean()
    skew, kurt = m3 / m2**1.5, m4 / m2**2 - 3
    g1 = skew * np.sqrt(n * (n - 1)) / (n - 2)
    g2 = (n - 1) / ((n - 2) * (n - 3)) * ((n + 1) * kurt + 6)
    return float(g1), float(g2), float(skew / (kurt + 3))


def _weighted_quantiles(x: np.ndarray, w: np.ndarray, levels: list[float]) -> list[float]:
    """Left-inverse weighted quantiles."""
    order = np.argsort(x, kind="stable")
    share = np.cumsum(w[order]) / w.sum()
    at = np.searchsorted(share, np.array(levels) - 1e-12, side="left")
    return [float(value) for value in x[order][np.minimum(at, len(x) - 1)]]


def _segments(minute: np.ndarray, open_: np.ndarray, close: np.ndarray) -> dict[str, float]:
    is_head = minute < 45
    if not is_head.any() or minute[is_head][-1] < 40 or minute[-1] < 55:
        return {}
    head_close = close[is_head][-1]
    head, tail = np.log(head_close / open_[0]), np.log(close[-1] / head_close)
    size = abs(head) + abs(tail)
    return {
        "seg_head_logret": head,
        "seg_tail_logret": tail,
        "seg_tail_minus_head": tail - head,
        "seg_tail_share": abs(tail) / size if size > 0 else NAN,
        "seg_tail_share_signed": tail / (head + tail) if abs(head + tail) >= 1e-4 else NAN,
    }


def _chips(r: np.ndarray, v: np.ndarray) -> dict[str, float]:
    """Distribution of the volume over return levels."""
    r, v = r[v > 0], v[v > 0]
    if len(r) == 0 or _constant(r):
        return {}
    total = v.sum()
    out: dict[str, float] = {}

    levels = [0.60, 0.70, 0.80, 0.90, 0.95]
    for level, value in zip(levels, _weighted_quantiles(r, v, levels), strict=True):
        out[f"doc_vol_pdf{round(level * 100)}"] = value
    out["doc_vol_pdf90bi"] = _weighted_quantiles(np.abs(r), v, [0.90])[0]

    low, high = r.min(), r.max()
    bins = np.minimum(np.floor(BINS * (r - low) / (high - low)).astype(int), BINS - 1)
    shares = np.bincount(bins, weights=v, minlength=BINS) / total
    d = shares - shares.mean()
    m2 = (d**2).mean()
    out["doc_std"] = np.sqrt(m2)
    out["doc_skew"] = (d**3).mean() / m2**1.5
    out["doc_kurt"] = (d**4).mean() / m2**2 - 3

    _, group = np.unique(np.round(r * 1e8).astype(np.int64), return_inverse=True)
    sums = np.sort(np.bincount(group, weights=v))[::-1]
    for k in (5, 10, 50):
        out[f"doc_vol{k}_ratio"] = sums[:k].sum() / total

    d = r - (v * r).sum() / total
    m2, m3, m4 = ((v * d**k).sum() / total for k in (2, 3, 4))
    out["doc_wstd"] = np.sqrt(m2)
    out["doc_wskew"] = m3 / m2**1.5
    out["doc_wkurt"] = m4 / m2**2 - 3
    return out


def hour_in_numpy(group: pd.DataFrame) -> pd.Series:
    """What needs the minutes of the hour together."""
    minute = group["minute"].to_numpy()
    o, h, low, c, v, q, r = (
        group[name].to_numpy() for name in ("open", "high", "low", "close", "volume", "q", "r")
    )
    out = _segments(minute, o, c)

    quote = q.sum()
    if quote > 0:
        top = np.argsort(-q, kind="stable")[: -(-len(q) // 5)]
        out["vol_top20_logret_sum"] = r[top].sum()
        out["vol_top20_frac"] = q[top].sum() / quote
    out["vol_top20_minute_frac"] = (v >= np.quantile(v, 0.8)).mean()

    x = minute.astype(float)
    for name, price in (("close", c), ("high", h), ("low", low)):
        slope, r2 = _regression(np.log(price), x)
        out[f"qrs_beta_{name}_per_hour"] = 60 * slope
        out[f"qrs_r2_{name}"] = r2
        out[f"qrs_{name}"] = 60 * slope * r2
    if not _constant(low) and not _constant(h):
        out["qrs_hl_beta"], out["qrs_hl_r2"] = _regression(h, low)

    out["shape_skew"], out["shape_kurt"], out["shape_skratio"] = _shape(r)
    if v.sum() > 0:
        names = ("shape_skewVol", "shape_kurtVol", "shape_skratioVol")
        out.update(zip(names, _shape(v / v.sum()), strict=True))

    adjacent = np.diff(minute) == 1
    before, after = np.flatnonzero(adjacent), np.flatnonzero(adjacent) + 1
    out["corr_prv"] = _corr(r, v)
    out["corr_pv"] = _corr(c, v)
    out["corr_pvd"] = _corr(c[after], v[before])
    out["corr_pvl"] = _corr(c[before], v[after])
    before, after = before[v[before] > 0], after[v[before] > 0]
    dv = np.clip(v[after] / v[before] - 1, -1, 10)
    out["corr_prvr"] = _corr(r[after], dv)
    out["corr_pvr"] = _corr(c[after], dv)

    out.update(_chips(r, v))
    return pd.Series(out, dtype=float)


def hour_in_pandas(group: pd.DataFrame) -> pd.Series:
    """The same with the methods of pandas."""
    g = group.set_index("minute")
    o, h, low, c, v, q, r = (
        g[name] for name in ("open", "high", "low", "close", "volume", "q", "r")
    )
    out: dict[str, float] = {}

    def pearson(x: pd.Series, y: pd.Series) -> float:
        pairs = pd.concat([x, y], axis=1).dropna()
        if len(pairs) < MIN_PAIRS or (pairs.nunique() == 1).any():
            return NAN
        return pairs.iloc[:, 0].corr(pairs.iloc[:, 1])

    def line(y: pd.Series, x: pd.Series) -> tuple[float, float]:
        if y.nunique() == 1:
            return 0.0, NAN
        slope, _ = np.polyfit(x - x.mean(), y - y.mean(), 1)
        return slope, x.corr(y) ** 2

    def shape(x: pd.Series) -> tuple[float, float, float]:
        if x.nunique() == 1:
            return NAN, NAN, NAN
        d = x - x.mean()
        m2, m3, m4 = (d**2).mean(), (d**3).mean(), (d**4).mean()
        return x.skew(), x.kurt(), m3 * m2**0.5 / m4

    head, tail = c[c.index < 45], c[c.index >= 45]
    if len(head) and len(tail) and head.index[-1] >= 40 and tail.index[-1] >= 55:
        first, last = np.log(head.iloc[-1] / o.iloc[0]), np.log(tail.iloc[-1] / head.iloc[-1])
        out["seg_head_logret"], out["seg_tail_logret"] = first, last
        out["seg_tail_minus_head"] = last - first
        if first or last:
            out["seg_tail_share"] = abs(last) / (abs(first) + abs(last))
        if abs(first + last) >= 1e-4:
            out["seg_tail_share_signed"] = last / (first + last)

    if q.sum() > 0:
        top = q.nlargest(-(-len(q) // 5), keep="first").index
        out["vol_top20_logret_sum"] = r[top].sum()
        out["vol_top20_frac"] = q[top].sum() / q.sum()
    out["vol_top20_minute_frac"] = (v >= v.quantile(0.8)).mean()

    minute = pd.Series(g.index.astype(float), index=g.index)
    for name, price in (("close", c), ("high", h), ("low", low)):
        slope, r2 = line(np.log(price), minute)
        out[f"qrs_beta_{name}_per_hour"], out[f"qrs_r2_{name}"] = 60 * slope, r2
        out[f"qrs_{name}"] = 60 * slope * r2
    if low.nunique() > 1 and h.nunique() > 1:
        out["qrs_hl_beta"], out["qrs_hl_r2"] = line(h, low)

    out["shape_skew"], out["shape_kurt"], out["shape_skratio"] = shape(r)
    if v.sum() > 0:
        names = ("shape_skewVol", "shape_kurtVol", "shape_skratioVol")
        out.update(zip(names, shape(v / v.sum()), strict=True))

    every = g.reindex(range(60))
    before = every["volume"].shift()
    burst = (every["volume"] / before.where(before > 0) - 1).clip(-1, 10)
    out["corr_prv"], out["corr_pv"] = pearson(r, v), pearson(c, v)
    out["corr_pvd"] = pearson(every["close"], before)
    out["corr_pvl"] = pearson(every["close"], every["volume"].shift(-1))
    out["corr_prvr"] = pearson(every["r"], burst)
    out["corr_pvr"] = pearson(every["close"], burst)

    traded = g[v > 0]
    if len(traded) == 0 or traded["r"].nunique() == 1:
        return pd.Series(out, dtype=float)
    r, v, total = traded["r"], traded["volume"], traded["volume"].sum()
    rising = traded.sort_values("r")
    share = rising["volume"].cumsum() / total
    for p in (60, 70, 80, 90, 95):
        out[f"doc_vol_pdf{p}"] = rising["r"][share >= p / 100 - 1e-12].iloc[0]
    far = traded.assign(far=r.abs()).sort_values("far")
    out["doc_vol_pdf90bi"] = far["far"][far["volume"].cumsum() / total >= 0.9 - 1e-12].iloc[0]
    bins = np.floor(BINS * (r - r.min()) / (r.max() - r.min())).clip(upper=BINS - 1)
    shares = v.groupby(bins).sum().reindex(range(BINS), fill_value=0.0) / total
    d = shares - shares.mean()
    m2 = (d**2).mean()
    out["doc_std"] = shares.std(ddof=0)
    out["doc_skew"], out["doc_kurt"] = (d**3).mean() / m2**1.5, (d**4).mean() / m2**2 - 3
    levels = v.groupby((r * 1e8).round()).sum()
    for k in (5, 10, 50):
        out[f"doc_vol{k}_ratio"] = levels.nlargest(k).sum() / total
    d = r - (v * r).sum() / total
    m2, m3, m4 = ((v * d**k).sum() / total for k in (2, 3, 4))
    out["doc_wstd"], out["doc_wskew"], out["doc_wkurt"] = m2**0.5, m3 / m2**1.5, m4 / m2**2 - 3
    return pd.Series(out, dtype=float)


def _prepare(minutes: pd.DataFrame) -> pd.DataFrame:
    """The valid minutes with returns and the terms of the sums."""
    df = minutes.sort_values("open_time")
    df = df[
        (df["low"] > 0)
        & (df["low"] <= df["high"])
        & df["open"].between(df["low"], df["high"])
        & df["close"].between(df["low"], df["high"])
    ].copy()
    df["hour_ts"] = df["open_time"].dt.floor("h")
    df["minute"] = df["open_time"].dt.minute
    proxy = df["volume"] * (df["high"] + df["low"] + df["close"]) / 3
    df["q"] = df["quote_volume"].fillna(proxy)
    previous = df.groupby("hour_ts")["close"].shift()
    df["r"] = np.log(df["close"] / previous.fillna(df["open"]))
    df["r2"] = df["r"] ** 2
    df["r2_up"] = df["r2"].where(df["r"] > 0, 0.0)
    df["r2_down"] = df["r2"].where(df["r"] < 0, 0.0)
    df["r2_last10"] = df["r2"].where(df["minute"] >= 50, 0.0)
    df["range_ratio"] = df["high"] / df["low"]
    df["log_range"] = np.log(df["range_ratio"])
    df["spread"] = (df["high"] - df["low"]) / df["close"]
    traded = df["q"].where(df["q"] > 0)
    df["impact"] = df["r"] / traded
    df["impact_abs"] = df["r"].abs() / traded
    df["impact_range"] = df["spread"] / traded
    df["v_first5"] = df["volume"].where(df["minute"] < 5, 0.0)
    df["v_first10"] = df["volume"].where(df["minute"] < 10, 0.0)
    df["v_last5"] = df["volume"].where(df["minute"] >= 55, 0.0)
    return df


def _us_open(df: pd.DataFrame, hours: pd.Index) -> pd.Series:
    """Log return of the first hour of New York trading, on the hour of 10:29 New York."""
    windows = us_open_windows(hours[0].date(), hours[-1].date())
    first = pd.DatetimeIndex([start for start, _ in windows])
    last = pd.DatetimeIndex([end for _, end in windows])
    bars = df.set_index("open_time")
    ratio = bars["close"].reindex(last).to_numpy() / bars["open"].reindex(first).to_numpy()
    return pd.Series(np.log(ratio), index=last.floor("h")).reindex(hours)


def momentum_and_volatility(
    minutes: pd.DataFrame,
    settlements: pd.DataFrame,
    one_hour: Callable[[pd.DataFrame], pd.Series] = hour_in_numpy,
) -> pd.DataFrame:
    """Families D and E of one symbol."""
    symbol = minutes["symbol"].iloc[0]
    hours = pd.DatetimeIndex(np.sort(minutes["open_time"].dt.floor("h").unique()), name="hour_ts")
    df = _prepare(minutes)
    grouped = df.groupby("hour_ts")

    count = grouped.size()
    full = df[df["hour_ts"].map(count) >= MIN_MINUTES]
    by_hour = full.groupby("hour_ts")
    sums = by_hour[
        ["volume", "q", "r2", "r2_up", "r2_down", "r2_last10", "v_first5", "v_first10", "v_last5"]
    ].sum()
    impact = by_hour[["impact", "impact_abs"]].sum(min_count=1)
    impact_mean = by_hour[["impact_abs", "impact_range"]].mean()
    std = by_hour[["volume", "range_ratio", "log_range", "r", "spread"]].std(ddof=0)

    out = by_hour.apply(one_hour)
    out = (out.unstack() if isinstance(out, pd.Series) else out).reindex(hours)
    volume = sums["volume"].where(sums["volume"] > 0)
    variance = sums["r2"].where(sums["r2"] > 0)
    n = by_hour.size()

    out["amihud_signed"] = 1e6 * impact["impact"]
    out["amihud_abs"] = 1e6 * impact["impact_abs"]
    out["vol_1m_mean"] = sums["volume"] / n
    out["vol_1m_std"] = std["volume"]
    out["vol_1m_cv"] = std["volume"] / (volume / n)
    out["range_ratio_1m_std"] = std["range_ratio"]
    out["log_range_1m_std"] = std["log_range"]
    out["min_range_ratio_max"] = by_hour["range_ratio"].max()
    out["up_vol_l2"] = np.sqrt(sums["r2_up"])
    out["down_vol_l2"] = np.sqrt(sums["r2_down"])
    out["up_var_share"] = sums["r2_up"] / variance
    out["down_var_share"] = 1 - out["up_var_share"]
    out["rv_std_sqrt60"] = std["r"] * np.sqrt(60)
    out["rv_l2"] = np.sqrt(sums["r2"])
    out["rv_per_vol"] = out["rv_std_sqrt60"] / (sums["q"].where(sums["q"] > 0) / n / 1e6)
    rv_day = out["rv_std_sqrt60"].rolling(24, min_periods=18).mean()
    out["rv_stability_24h"] = out["rv_std_sqrt60"] / rv_day.where(rv_day > 0)
    out["liq_amihud"] = 1e6 * impact_mean["impact_abs"]
    out["liq_range_vol_ratio"] = 1e6 * impact_mean["impact_range"]
    out["liq_spread_std"] = std["spread"]
    out["liq_last_5min_R"] = sums["v_last5"] / volume
    out["liq_funding_impact"] = (sums["v_first5"] + sums["v_last5"]) / volume
    out["liq_top_of_hour_ratio"] = sums["v_first10"] / volume
    out["liq_tail_var_share"] = sums["r2_last10"] / variance
    out["liq_tail_risk"] = np.sqrt(out["liq_tail_var_share"])

    settled = settlements.loc[settlements["symbol"] == symbol, "settle_time"]
    at_settlement = hours.isin(settled)
    before_any = hours < settled.min() if len(settled) else np.ones(len(hours), dtype=bool)
    by_clock = before_any & hours.hour.isin([0, 8, 16])
    out["is_funding_hour"] = (at_settlement | by_clock).astype(np.int8)
    spine = sums.reindex(hours)
    both = spine["volume"] + spine["volume"].shift()
    edge = spine["v_first5"] + spine["v_last5"].shift()
    out["liq_funding_window_share"] = (edge / both.where(both > 0)).where(at_settlement)

    window = out["qrs_hl_beta"].shift().rolling(600, min_periods=450)
    spread = window.std()
    out["qrs_hl_z"] = (out["qrs_hl_beta"] - window.mean()) / spread.where(spread > 0)
    out["qrs_hl"] = out["qrs_hl_z"] * out["qrs_hl_r2"]
    out["qrs_hl_rskew"] = out["qrs_hl"] * out["qrs_hl_beta"]
    out["seg_us_open_60m_logret"] = _us_open(df, hours)
    out["seg_us_open_60m_logret_last"] = out["seg_us_open_60m_logret"].ffill(limit=23)

    missing = [name for name in (*D_COLUMNS, *E_COLUMNS) if name not in out]
    out[missing] = NAN
    out = out.reset_index()
    out.insert(0, "symbol", symbol)
    return out[list(COLUMNS)]
