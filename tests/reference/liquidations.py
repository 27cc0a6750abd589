"""Family H: who was liquidated, by how much, and how unusual that is, by the hour and by the bar.

Events are those that count: of the source of their hour, in hours that the feed covers. An hour
without feed is NULL everywhere, a covered one without events is 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from .bars import valid_candles
from .common import KEYS, Floats, Inputs

SIDES = ("long", "short")
SIZES = ("large", "small", "med")
POSITION = {"SELL": "long", "BUY": "short"}
RARITY_HOURS = 168
RARITY_SHARE = 0.75  # of the rows of a frame, that must be known
MINING_SHARE = 0.5
SHAPE_LEAST = 5
ROWS_AT_ONCE = 4096

Statistic = Callable[[Floats, Floats], Floats]


@dataclass(frozen=True)
class Settings:
    """The parameters of the family, with the defaults of the specification."""

    liq_q: tuple[float, float] = (0.75, 0.90)
    liq_lb: tuple[int, ...] = (24, 48)
    liq_min_events: int = 20
    bar_minutes: int = 15
    mining_windows: tuple[int, ...] = (24,)
    mining_quantiles: tuple[float, ...] = (0.90,)
    brk_min_pos: int = 5


class Columns(NamedTuple):
    """The names of the family: its base, the 88 of the engine, and what extends them."""

    base: list[str]
    parity: list[str]
    extension: list[str]

    @property
    def all(self) -> list[str]:
        return self.base + self.parity + self.extension


def bucket_columns(settings: Settings) -> list[str]:
    return [
        f"{what}_{side}_{size}_lb{lb}"
        for lb in settings.liq_lb
        for side in SIDES
        for size in SIZES
        for what in ("sum", "count")
    ]


def h_columns(settings: Settings) -> Columns:
    """The columns of family H, those of the parity set in the order of the engine."""
    lbs, windows = settings.liq_lb, settings.mining_windows
    buckets = bucket_columns(settings)
    base = [f"{side}_liq_{what}" for what in ("volume", "qty", "count", "max") for side in SIDES]
    base += ["liq_total_volume", "liq_imbalance"]
    base += [f"{side}_liq_{what}_168h" for what in ("z", "rank") for side in SIDES]
    base += ["liq_over_quote_volume", "liq_feed_ok"]

    shapes = [f"skew_{side}" for side in SIDES]
    parity = buckets + shapes
    for lb in lbs:
        parity += [f"total_vol_{side}_lb{lb}" for side in SIDES]
        parity += [f"diff_net_burn_vol_lb{lb}"]
        parity += [f"ratio_whale_{side}_lb{lb}" for side in SIDES]
    for w in windows:
        parity += [f"feat_z_{x}_w{w}" for x in z_of_parity(settings)]
        parity += [_breakout(x, w, q) for q in settings.mining_quantiles for x in buckets]

    extension = [*(f"kurt_{side}" for side in SIDES), "diff_skew"]
    extension += [f"ratio_retail_{side}_lb{lb}" for lb in lbs for side in SIDES]
    extension += [f"diff_net_whale_vol_lb{lb}" for lb in lbs]
    extension += [f"ratio_whale_retail_{side}_lb{lb}" for lb in lbs for side in SIDES]
    for w in windows:
        extension += [f"feat_z_{x}_w{w}" for x in z_of_extension(settings)]
        for q in settings.mining_quantiles:
            extension += [_breakout(f"total_vol_{side}", w, q) for side in SIDES]
        extension += [f"feat_rank_{x}_w{w}" for x in buckets]
    return Columns(base, parity, extension)


def z_of_parity(settings: Settings) -> list[str]:
    shapes = [f"skew_{side}" for side in SIDES]
    return [*bucket_columns(settings), *shapes, *_each(settings, "diff_net_burn_vol")]


def z_of_extension(settings: Settings) -> list[str]:
    return [*_each(settings, "diff_net_whale_vol"), "diff_skew", "liq_imbalance"]


def _each(settings: Settings, name: str) -> list[str]:
    return [f"{name}_lb{lb}" for lb in settings.liq_lb]


def _breakout(x: str, window: int, q: float) -> str:
    return f"feat_brk_{x}_w{window}_q{round(100 * q)}"


DEFAULT = h_columns(Settings())
H_BASE_COLUMNS, H_PARITY_COLUMNS, H_EXTENSION_COLUMNS = DEFAULT


def family_h(
    events: pd.DataFrame,
    coverage: pd.DataFrame,
    spine: pd.DataFrame,
    quote_volume: pd.DataFrame,
    settings: Settings | None = None,
) -> pd.DataFrame:
    """Family H by the hour; `quote_volume` has symbol, hour_ts, quote_volume."""
    settings = settings or Settings()
    rows = _hours(coverage, spine)
    out = _factors(_own_events(events, coverage, rows), rows, rows, "hour_ts", settings)
    return _finish(out, rows, KEYS, quote_volume, settings)


def factors_15m(
    events: pd.DataFrame,
    coverage: pd.DataFrame,
    spine: pd.DataFrame,
    quote_volume: pd.DataFrame,
    settings: Settings | None = None,
) -> pd.DataFrame:
    """Family H for every bar of the spine's hours; `quote_volume` has symbol, bar_ts too."""
    settings = settings or Settings()
    rows = _hours(coverage, spine)
    n = 60 // settings.bar_minutes
    bars = rows.loc[rows.index.repeat(n)].reset_index(drop=True)
    number = pd.Series(np.arange(len(bars)) % n)
    bars["bar_ts"] = bars["hour_ts"] + number * pd.Timedelta(minutes=settings.bar_minutes)
    out = _factors(_own_events(events, coverage, rows), rows, bars, "bar_ts", settings)
    return _finish(out, bars, ["symbol", "bar_ts", "listing_segment"], quote_volume, settings)


def bar_quote_volume(inputs: Inputs, settings: Settings | None = None) -> pd.DataFrame:
    """What the valid minutes of each bar traded, in the quote currency."""
    minutes = valid_candles(inputs, "klines_1m")
    width = f"{(settings or Settings()).bar_minutes}min"
    minutes["bar_ts"] = minutes["open_time"].dt.floor(width)
    sums = minutes.groupby(["symbol", "bar_ts"])["quote_volume"].sum(min_count=1)
    return sums.reset_index()


# --- events and rows ------------------------------------------------------------------------


def _hours(coverage: pd.DataFrame, spine: pd.DataFrame) -> pd.DataFrame:
    """The spine in order of time, with `ok` where the feed covers the hour."""
    rows = spine[[*KEYS, "listing_segment"]].sort_values(KEYS, ignore_index=True)
    rows["hour_ts"] = rows["hour_ts"].astype("datetime64[us]")
    ok = coverage.loc[coverage["ok"].astype("bool"), KEYS]
    covered = set(zip(ok["symbol"], pd.to_datetime(ok["hour_ts"]), strict=True))
    keys = zip(rows["symbol"], rows["hour_ts"], strict=True)
    rows["ok"] = np.array([key in covered for key in keys], dtype="bool")
    return rows


def _own_events(events: pd.DataFrame, coverage: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """The events of covered hours, in order of time; of the hour's source where it is told."""
    time = pd.to_datetime(events["available_time"]).astype("datetime64[us]")
    if "liquidated_position" in events:
        position = events["liquidated_position"]
    else:
        position = events["side"].map(POSITION)
    own = pd.DataFrame(
        {
            "symbol": events["symbol"].astype("object"),
            "hour_ts": time.dt.floor("h"),
            "available_time": time,
            "position": position.astype("object"),
            "quantity": events["quantity"].astype("float64"),
            "value": events["value"].astype("float64"),
        }
    )
    if "source" in events and "source" in coverage:
        own["source"] = events["source"].astype("object")
        keys = [*KEYS, "source"]
        kinds = {"symbol": "object", "hour_ts": "datetime64[us]", "source": "object"}
        own = own.merge(coverage[keys].astype(kinds), on=keys, validate="many_to_one")
    covered = rows.loc[rows["ok"], [*KEYS, "listing_segment"]].astype({"symbol": "object"})
    own = own.merge(covered, on=KEYS, validate="many_to_one")
    return own.sort_values(["symbol", "available_time"], ignore_index=True)


def thresholds(events: pd.DataFrame, rows: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    """Per row, the values up to which an event is small and above which it is large.

    They are quantiles of all events of the symbol's segment in the hours before, of both sides.
    """
    limits = {
        f"{size}_lb{lb}": np.full(len(rows), np.nan)
        for lb in settings.liq_lb
        for size in ("small", "large")
    }
    listing = ["symbol", "listing_segment"]
    history = dict(list(events.groupby(listing)))
    for key, part in rows.groupby(listing):
        if key not in history:
            continue
        hours = history[key]["hour_ts"].to_numpy()
        values = history[key]["value"].to_numpy()
        for lb in settings.liq_lb:
            now = part["hour_ts"].to_numpy()
            starts = np.searchsorted(hours, now - np.timedelta64(lb, "h"), side="left")
            ends = np.searchsorted(hours, now, side="left")
            for at, start, end in zip(part.index, starts, ends, strict=True):
                if end - start >= settings.liq_min_events:
                    small, large = np.quantile(values[start:end], settings.liq_q)
                    limits[f"small_lb{lb}"][at] = small
                    limits[f"large_lb{lb}"][at] = large
    return pd.DataFrame(limits, index=rows.index)


# --- factors --------------------------------------------------------------------------------


def _factors(
    events: pd.DataFrame, rows: pd.DataFrame, bars: pd.DataFrame, time: str, settings: Settings
) -> dict[str, Floats]:
    """Every column that needs no price, one array each with an element per bar."""
    n = len(bars)
    ok = bars["ok"].to_numpy()
    place = pd.Series(np.arange(n), index=pd.MultiIndex.from_frame(bars[["symbol", time]]))
    width = "h" if time == "hour_ts" else f"{settings.bar_minutes}min"
    own = pd.MultiIndex.from_arrays(
        [events["symbol"], events["available_time"].dt.floor(width)], names=["symbol", time]
    )
    events = events.assign(bar=place.reindex(own).to_numpy(dtype="int64"))
    limits = thresholds(events, rows, settings)
    limits = limits.loc[limits.index.repeat(n // max(len(rows), 1))]
    bar, value = events["bar"].to_numpy(), events["value"].to_numpy()
    quantity = events["quantity"].to_numpy()

    def known(x: Floats | npt.NDArray[np.int64], where: npt.NDArray[np.bool_]) -> Floats:
        return np.where(where, x.astype("float64"), np.nan)

    x: dict[str, Floats] = {}
    for side in SIDES:
        at = (events["position"] == side).to_numpy()
        largest = np.zeros(n)
        np.maximum.at(largest, bar[at], value[at])
        x[f"{side}_liq_volume"] = known(np.bincount(bar[at], value[at], minlength=n), ok)
        x[f"{side}_liq_qty"] = known(np.bincount(bar[at], quantity[at], minlength=n), ok)
        x[f"{side}_liq_count"] = known(np.bincount(bar[at], minlength=n), ok)
        x[f"{side}_liq_max"] = known(largest, ok)
        x[f"skew_{side}"], x[f"kurt_{side}"] = _shapes(bar[at], value[at], n)
        for lb in settings.liq_lb:
            small, large = (limits[f"{size}_lb{lb}"].to_numpy() for size in ("small", "large"))
            has_limits = ok & ~np.isnan(large)
            is_large, is_small = value > large[bar], value <= small[bar]
            of_size = {"large": is_large, "small": is_small, "med": ~is_large & ~is_small}
            for size in SIZES:
                mine = at & of_size[size]
                name = f"{side}_{size}_lb{lb}"
                sums = np.bincount(bar[mine], value[mine], minlength=n)
                x[f"sum_{name}"] = known(sums, has_limits)
                x[f"count_{name}"] = known(np.bincount(bar[mine], minlength=n), has_limits)
    _ratios(x, settings)
    _mine(x, bars, time, settings)
    x["liq_feed_ok"] = ok.astype("float64")
    return x


def _shapes(bar: npt.NDArray[np.int64], value: Floats, n: int) -> tuple[Floats, Floats]:
    """Skewness and excess kurtosis (G1, G2) of the events of each bar."""
    skew, kurt = np.full(n, np.nan), np.full(n, np.nan)
    ordered = np.argsort(bar, kind="stable")
    which, starts = np.unique(bar[ordered], return_index=True)
    for at, own in zip(which, np.split(value[ordered], starts[1:]), strict=False):
        k = len(own)
        if k < SHAPE_LEAST or own.min() == own.max():
            continue
        d = own - own.mean()
        m2, m3, m4 = (d**2).mean(), (d**3).mean(), (d**4).mean()
        skew[at] = math.sqrt(k * (k - 1)) / (k - 2) * m3 / m2**1.5
        kurt[at] = (k - 1) / ((k - 2) * (k - 3)) * ((k + 1) * (m4 / m2**2 - 3) + 6)
    return skew, kurt


def _divide(a: Floats, b: Floats) -> Floats:
    out = np.full(len(a), np.nan)
    np.divide(a, b, out=out, where=b != 0)
    return out


def _ratios(x: dict[str, Floats], settings: Settings) -> None:
    """What follows from the sums and counts of the same bar."""
    long, short = x["long_liq_volume"], x["short_liq_volume"]
    x["liq_total_volume"] = long + short
    x["liq_imbalance"] = _divide(short - long, short + long)
    x["diff_skew"] = x["skew_long"] - x["skew_short"]
    for side in SIDES:
        x[f"total_vol_{side}"] = x[f"{side}_liq_volume"]
    for lb in settings.liq_lb:
        for side in SIDES:
            volume = x[f"{side}_liq_volume"]
            large, small = x[f"sum_{side}_large_lb{lb}"], x[f"sum_{side}_small_lb{lb}"]
            count = sum((x[f"count_{side}_{size}_lb{lb}"] for size in SIZES), np.zeros(len(volume)))
            x[f"total_vol_{side}_lb{lb}"] = volume
            x[f"ratio_whale_{side}_lb{lb}"] = _divide(large, volume)
            x[f"ratio_retail_{side}_lb{lb}"] = _divide(x[f"count_{side}_small_lb{lb}"], count)
            both = np.where(large > 0, _divide(large, small), np.nan)
            x[f"ratio_whale_retail_{side}_lb{lb}"] = np.log(both)
        x[f"diff_net_burn_vol_lb{lb}"] = long - short
        x[f"diff_net_whale_vol_lb{lb}"] = x[f"sum_long_large_lb{lb}"] - x[f"sum_short_large_lb{lb}"]


def _mine(x: dict[str, Floats], bars: pd.DataFrame, time: str, settings: Settings) -> None:
    """How unusual the bar is among those before it: z, breakouts and ranks."""
    an_hour = 1 if time == "hour_ts" else 60 // settings.bar_minutes
    spans = list(_segment_spans(bars))

    width = RARITY_HOURS * an_hour
    least = math.ceil(RARITY_SHARE * width)
    for side in SIDES:
        volume = x[f"{side}_liq_volume"]
        x[f"{side}_liq_z_168h"] = rolling(volume, spans, width, z_of(least))
        ranks = rolling(volume, spans, width, rank_of(least), inclusive=True)
        x[f"{side}_liq_rank_168h"] = ranks

    buckets = bucket_columns(settings)
    for w in settings.mining_windows:
        width = w * an_hour
        least = math.ceil(MINING_SHARE * width)
        for name in z_of_parity(settings) + z_of_extension(settings):
            x[f"feat_z_{name}_w{w}"] = rolling(x[name], spans, width, z_of(least))
        for name in [*buckets, *(f"total_vol_{side}" for side in SIDES)]:
            for q in settings.mining_quantiles:
                statistic = breakout_of(q, settings.brk_min_pos)
                x[_breakout(name, w, q)] = rolling(x[name], spans, width, statistic)
        for name in buckets:
            ranks = rolling(x[name], spans, width, rank_of(least), inclusive=True)
            x[f"feat_rank_{name}_w{w}"] = ranks


def _segment_spans(bars: pd.DataFrame) -> Iterator[tuple[int, int]]:
    """First and one past the last position of each listing segment."""
    for _, part in bars.groupby(["symbol", "listing_segment"]):
        yield int(part.index[0]), int(part.index[-1]) + 1


def rolling(
    x: Floats,
    spans: Sequence[tuple[int, int]],
    width: int,
    statistic: Statistic,
    *,
    inclusive: bool = False,
) -> Floats:
    """A statistic of each value and the `width` rows before it, or up to it, in its segment."""
    out = np.full(len(x), np.nan)
    for start, end in spans:
        own = x[start:end]
        padded = np.concatenate([np.full(width, np.nan), own])
        frames = np.lib.stride_tricks.sliding_window_view(padded, width)[int(inclusive) :]
        for i in range(0, len(own), ROWS_AT_ONCE):
            part = own[i : i + ROWS_AT_ONCE]
            out[start + i : start + i + len(part)] = statistic(frames[i : i + len(part)], part)
    return out


def z_of(least: int) -> Statistic:
    """Distance from the frame's mean in sample standard deviations."""

    def statistic(frames: Floats, x: Floats) -> Floats:
        known = ~np.isnan(frames)
        lowest = np.where(known, frames, np.inf).min(axis=1)
        highest = np.where(known, frames, -np.inf).max(axis=1)
        usable = (known.sum(axis=1) >= least) & (lowest < highest)
        own = frames[usable]
        out = np.full(len(x), np.nan)
        out[usable] = (x[usable] - np.nanmean(own, axis=1)) / np.nanstd(own, axis=1, ddof=1)
        return out

    return statistic


def rank_of(least: int) -> Statistic:
    """Share of the other values in the frame that are smaller; the frame includes x."""

    def statistic(frames: Floats, x: Floats) -> Floats:
        n = (~np.isnan(frames)).sum(axis=1)
        usable = (n >= max(least, 2)) & ~np.isnan(x)
        smaller = (frames < x[:, None]).sum(axis=1)
        out = np.full(len(x), np.nan)
        out[usable] = smaller[usable] / (n[usable] - 1)
        return out

    return statistic


def breakout_of(q: float, least: int) -> Statistic:
    """x as a multiple of the linear quantile of the frame's positive values."""

    def statistic(frames: Floats, x: Floats) -> Floats:
        positive = np.sort(np.where(frames > 0, frames, np.inf), axis=1)
        n = np.isfinite(positive).sum(axis=1)
        usable = np.flatnonzero((n >= max(least, 1)) & ~np.isnan(x))
        rank = (n[usable] - 1) * q
        lower = np.floor(rank).astype("int64")
        below = positive[usable, lower]
        above = positive[usable, np.minimum(lower + 1, n[usable] - 1)]
        out = np.full(len(x), np.nan)
        out[usable] = x[usable] / (below + (above - below) * (rank - lower))
        return out

    return statistic


def _finish(
    x: dict[str, Floats],
    bars: pd.DataFrame,
    keys: list[str],
    quote_volume: pd.DataFrame,
    settings: Settings,
) -> pd.DataFrame:
    """The keys and the columns in their order, with the share of trading that was forced."""
    at = keys[:2]
    paid = quote_volume[[*at, "quote_volume"]].astype({"symbol": "object", at[1]: "datetime64[us]"})
    traded = bars[at].astype({"symbol": "object"}).merge(paid, on=at, how="left")
    assert len(traded) == len(bars), "one quote volume per bar"
    total = traded["quote_volume"].to_numpy(dtype="float64", na_value=np.nan)
    x["liq_over_quote_volume"] = _divide(x["liq_total_volume"], total)
    columns = h_columns(settings).all
    factors = pd.DataFrame({name: x[name] for name in columns}, index=bars.index)
    return pd.concat([bars[keys], factors], axis=1)
