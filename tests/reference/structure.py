"""Family S: the fuel of forced trades, the magnet of standing levels, the pressure of the crowd."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd

from .cleaning import frame_before
from .common import HOUR, KEYS, Floats, Times, by_symbol, divide, segments, table
from .minutes import constant, log_ratio

S_COLUMNS = [
    "fuel_short_z",
    "fuel_long_z",
    "fuel_short_intensity",
    "fuel_long_intensity",
    "fuel_short_mem",
    "fuel_long_mem",
    "fuel_break_up",
    "fuel_break_dn",
    "fuel_up_score",
    "fuel_dn_score",
    "distance_to_max_liq",
    "distance_to_max_liq_up",
    "distance_to_max_liq_dn",
    "magnet_max_share",
    "magnet_pull",
    "distance_to_max_liq_real",
    "magnet_real_max_share",
    "whale_retail_ratio",
    "whale_retail_logratio",
    "whale_retail_divergence",
    "retail_count_imbalance",
    "retail_buy_count_z_168h",
    "net_burn_volume",
    "net_burn_ratio",
    "net_burn_over_quote",
    "absorption_z",
    "pressure_distribution",
    "pressure_accumulation",
]
MAGNET_COLUMNS = S_COLUMNS[10:15]
REALISED_COLUMNS = S_COLUMNS[15:17]
# what is read of the other families: bars, order flow, open interest, liquidations
BAR_INPUTS = ["open", "high", "low", "close", "quote_volume", "vwap", "vwap_quote"]
FLOW_INPUTS = ["cvd_quote"] + [
    f"{who}_{name}"
    for who in ("whale", "retail")
    for name in ("buy_quote", "sell_quote", "buy_count", "sell_count", "imbalance")
]
STAKE_INPUTS = ["oi_open_interest", "oi_delta"]
LIQUIDATION_INPUTS = ["long_liq_volume", "short_liq_volume", "liq_imbalance", "liq_feed_ok"]

WEEK, WEEK_LEAST = 168, 126
DAY, DAY_LEAST = 24, 18
MEMORY_ROWS = 61
MEMORY_LEAST = 0.75  # of the weight
LEVERAGE_TIERS = {5: 0.15, 10: 0.30, 25: 0.30, 50: 0.15, 100: 0.10}
FRESH_HOURS = 48
PULL_LENGTH = 0.03
TIE = 1e-9
REALISED_HOURS = 72
REALISED_HALF_LIFE = 24
REALISED_EVENTS = 20

Mass = dict[int, float]  # USDT in each bin of log price


def z_before(x: Floats) -> Floats:
    """Deviation from the week before, in standard deviations of that week."""
    out = np.full(len(x), np.nan)
    for i in range(len(x)):
        base = frame_before(x, i, WEEK)
        if len(base) >= WEEK_LEAST and not constant(base):
            out[i] = (x[i] - base.mean()) / base.std(ddof=1)
    return out


def memory(x: Floats, half_life: float) -> Floats:
    """Decaying sum of 61 rows; NULL where too much of the weight falls on unknown rows."""
    weights = 2.0 ** (-np.arange(MEMORY_ROWS) / half_life)
    out = np.full(len(x), np.nan)
    for i in range(len(x)):
        newest_first = x[max(0, i - MEMORY_ROWS + 1) : i + 1][::-1]
        known = ~np.isnan(newest_first)
        w = weights[: len(newest_first)][known]
        if w.sum() >= MEMORY_LEAST * weights.sum():
            out[i] = (w * newest_first[known]).sum()
    return out


def breaks(own: pd.DataFrame) -> tuple[Floats, Floats]:
    """1 where the close is above all highs, or below all lows, of the day before."""
    high, low, close = (own[name].to_numpy() for name in ("high", "low", "close"))
    up, down = np.full(len(own), np.nan), np.full(len(own), np.nan)
    for i, price in enumerate(close):
        highs, lows = frame_before(high, i, DAY), frame_before(low, i, DAY)
        if not np.isnan(price) and len(highs) >= DAY_LEAST:
            up[i] = float(price > highs.max())
            down[i] = float(price < lows.min())
    return up, down


def bin_of(price: float, width: float) -> int:
    return math.floor(math.log(price) / width)


def centre(number: int, width: float) -> float:
    """Log price of the middle of a bin."""
    return (number + 0.5) * width


def strongest(mass: Mass, log_close: float, width: float) -> int:
    """The bin of most mass; of equal ones the nearest to the close, then the lower."""
    most = max(mass.values())
    tied = [b for b, m in mass.items() if most - m <= TIE * most]
    return min(tied, key=lambda b: (abs(centre(b, width) - log_close), b))


def read_map(longs: Mass, shorts: Mass, close: float, width: float) -> dict[str, float]:
    """The magnet's columns, seen from the close."""
    both = dict(longs)
    for b, m in shorts.items():
        both[b] = both.get(b, 0.0) + m
    total = math.fsum(both.values())
    if total == 0:
        return {}
    log_close = math.log(close)

    def pull_of(mass: Mass) -> float:
        return math.fsum(
            m * math.exp(-abs(centre(b, width) - log_close) / PULL_LENGTH) for b, m in mass.items()
        )

    top = strongest(both, log_close, width)
    out = {
        "distance_to_max_liq": centre(top, width) - log_close,
        "magnet_max_share": both[top] / total,
    }
    for side, mass in (("up", shorts), ("dn", longs)):
        if math.fsum(mass.values()) > 0:
            at = strongest(mass, log_close, width)
            out[f"distance_to_max_liq_{side}"] = centre(at, width) - log_close
    up, down = pull_of(shorts), pull_of(longs)
    if up + down > 0:
        out["magnet_pull"] = (up - down) / (up + down)
    return out


def magnet(
    own: pd.DataFrame,
    *,
    width: float,
    half_life: float,
    tiers: Mapping[int, float],
    maintenance: float,
) -> pd.DataFrame:
    """The estimated map of one segment, hour by hour: where positions would be liquidated."""
    longs: Mass = {}
    shorts: Mass = {}
    fresh = 0
    stakes_before = np.nan
    records: list[dict[str, float]] = []
    for row in own.to_dict("records"):
        keep = 2 ** (-1 / half_life)
        longs = {b: m * keep for b, m in longs.items()}
        shorts = {b: m * keep for b, m in shorts.items()}
        if row["has_bar"]:
            lowest, highest = bin_of(row["low"], width), bin_of(row["high"], width)
            longs = {b: m for b, m in longs.items() if b < lowest}
            shorts = {b: m for b, m in shorts.items() if b > highest}
        if row["oi_delta"] < 0:
            left = row["oi_open_interest"] / stakes_before
            longs = {b: m * left for b, m in longs.items()}
            shorts = {b: m * left for b, m in shorts.items()}
        entry = row["vwap"] if np.isnan(row["vwap_quote"]) else row["vwap_quote"]
        if row["oi_delta"] > 0 and row["has_bar"] and not np.isnan(entry):
            for leverage, weight in tiers.items():
                mass = row["oi_delta"] * entry * weight
                below = bin_of(entry * (1 - 1 / leverage + maintenance), width)
                above = bin_of(entry * (1 + 1 / leverage - maintenance), width)
                if below < lowest:
                    longs[below] = longs.get(below, 0.0) + mass
                if above > highest:
                    shorts[above] = shorts.get(above, 0.0) + mass
        fresh += int(not np.isnan(row["oi_open_interest"]))
        stakes_before = row["oi_open_interest"]
        known = row["has_bar"] and fresh >= FRESH_HOURS
        records.append(read_map(longs, shorts, row["close"], width) if known else {})
    return pd.DataFrame(records, index=own.index, columns=MAGNET_COLUMNS, dtype="float64")


def realised(
    own: pd.DataFrame, times: Times, prices: Floats, values: Floats, width: float
) -> pd.DataFrame:
    """The map of the liquidations of one symbol (in time order) on the rows of one segment."""
    hours = own["hour_ts"].to_numpy().astype("datetime64[us]")
    covered = own["liq_feed_ok"].to_numpy() == 1
    inside = np.isin(times.astype("datetime64[h]"), hours[covered].astype("datetime64[h]"))
    times, prices, values = times[inside], prices[inside], values[inside]
    bins = np.array([bin_of(p, width) for p in prices], dtype="int64")
    closes = own["close"].to_numpy()
    out = np.full((len(own), 2), np.nan)
    for i, hour in enumerate(hours):
        end = hour + HOUR
        first, after = np.searchsorted(times, [end - REALISED_HOURS * HOUR, end])
        if not covered[i] or np.isnan(closes[i]) or after - first < REALISED_EVENTS:
            continue
        weights = 2 ** (-((end - times[first:after]) / HOUR) / REALISED_HALF_LIFE)
        held, place = np.unique(bins[first:after], return_inverse=True)
        sums = np.bincount(place, weights=values[first:after] * weights)
        mass: Mass = dict(zip(held.tolist(), sums.tolist(), strict=True))
        total = math.fsum(mass.values())
        if total > 0:
            log_close = math.log(closes[i])
            top = strongest(mass, log_close, width)
            out[i] = centre(top, width) - log_close, mass[top] / total
    return pd.DataFrame(out, index=own.index, columns=REALISED_COLUMNS)


def counted_events(events: pd.DataFrame) -> pd.DataFrame:
    """The events that count, in the order in which they became known, with their price."""
    out = table(
        {"events": events}, "events", ["available_time"], ["average_price", "price", "value"]
    )
    out["at"] = out["average_price"].where(out["average_price"] > 0, out["price"])
    out = out[(out["at"] > 0) & out["value"].notna()]
    return out.sort_values(["symbol", "available_time"], kind="stable", ignore_index=True)


def windows(own: pd.DataFrame, fuel_hl: float) -> pd.DataFrame:
    """What needs the rows before, on one segment; two z-scores serve the flags only."""
    x = {name: own[name].to_numpy() for name in own}
    up, down = breaks(own)
    returns_z = z_before(log_ratio(x["close"], x["open"]))
    columns = {
        "fuel_short_z": z_before(np.log1p(x["short_liq_volume"])),
        "fuel_long_z": z_before(np.log1p(x["long_liq_volume"])),
        "fuel_short_mem": memory(x["short_liq_volume"], fuel_hl),
        "fuel_long_mem": memory(x["long_liq_volume"], fuel_hl),
        "fuel_break_up": up,
        "fuel_break_dn": down,
        "absorption_z": z_before(x["cvd_quote"]) - returns_z,
        "retail_buy_count_z_168h": z_before(np.log1p(x["retail_buy_count"])),
        "retail_sell_count_z": z_before(np.log1p(x["retail_sell_count"])),
        "returns_z": returns_z,
    }
    return pd.DataFrame(columns, index=own.index)


def flag(met: pd.Series[bool], *inputs: pd.Series[float]) -> pd.Series[float]:
    """1 or 0, NULL where an input is."""
    known = pd.concat(inputs, axis=1).notna().all(axis=1)
    return met.astype("float64").where(known)


def family_s(
    rows: pd.DataFrame,
    bars: pd.DataFrame,
    flow: pd.DataFrame,
    stakes: pd.DataFrame,
    liquidations: pd.DataFrame,
    events: pd.DataFrame,
    *,
    magnet_bin: float = 0.0025,
    magnet_hl: float = 24.0,
    leverage_tiers: Mapping[int, float] = LEVERAGE_TIERS,
    maintenance: float = 0.005,
    fuel_hl: float = 6.0,
) -> pd.DataFrame:
    """Family S on the spine's rows, from those of families A, F, M and H and the liquidations.

    `events` holds the liquidations of covered hours that count, one source per symbol and hour.
    """
    x = rows[[*KEYS, "has_bar", "listing_segment"]]
    for frame, names in (
        (bars, BAR_INPUTS),
        (flow, FLOW_INPUTS),
        (stakes, STAKE_INPUTS),
        (liquidations, LIQUIDATION_INPUTS),
    ):
        given = frame[KEYS + names].astype(dict.fromkeys(names, "float64"))
        x = x.merge(given, on=KEYS, how="left", validate="one_to_one")
    x.index = rows.index

    known_events = counted_events(events)
    events_of = by_symbol(known_events)
    parts: list[pd.DataFrame] = []
    for symbol, own in segments(x):
        died = events_of.get(symbol, known_events.iloc[:0])
        times = died["available_time"].to_numpy()
        prices, values = died["at"].to_numpy(), died["value"].to_numpy()
        estimated = magnet(
            own,
            width=magnet_bin,
            half_life=magnet_hl,
            tiers=leverage_tiers,
            maintenance=maintenance,
        )
        seen = realised(own, times, prices, values, magnet_bin)
        parts.append(pd.concat([windows(own, fuel_hl), estimated, seen], axis=1))
    if not parts:
        return pd.DataFrame(columns=KEYS + S_COLUMNS)
    s = pd.concat(parts).reindex(rows.index)

    for side in ("short", "long"):
        s[f"fuel_{side}_intensity"] = divide(x[f"{side}_liq_volume"], x["quote_volume"])
    s["fuel_up_score"] = s["fuel_short_z"] * s["fuel_break_up"]
    s["fuel_dn_score"] = s["fuel_long_z"] * s["fuel_break_dn"]
    s["net_burn_volume"] = x["long_liq_volume"] - x["short_liq_volume"]
    s["net_burn_ratio"] = -x["liq_imbalance"]
    s["net_burn_over_quote"] = divide(s["net_burn_volume"], x["quote_volume"])
    whales = x["whale_buy_quote"] + x["whale_sell_quote"]
    crowd = x["retail_buy_quote"] + x["retail_sell_quote"]
    s["whale_retail_ratio"] = divide(whales, crowd)
    s["whale_retail_logratio"] = np.log(s["whale_retail_ratio"].where(whales > 0))
    s["whale_retail_divergence"] = x["whale_imbalance"] - x["retail_imbalance"]
    buyers, sellers = x["retail_buy_count"], x["retail_sell_count"]
    s["retail_count_imbalance"] = divide(buyers - sellers, buyers + sellers)

    whale, retail, returns = x["whale_imbalance"], x["retail_imbalance"], s["returns_z"]
    frenzy = s["retail_buy_count_z_168h"]
    met = (frenzy > 1) & (retail > 0) & (whale < 0) & (returns < 0.5)
    s["pressure_distribution"] = flag(met, frenzy, retail, whale, returns)
    panic = s["retail_sell_count_z"]
    met = (panic > 1) & (retail < 0) & (whale > 0) & (returns > -0.5)
    s["pressure_accumulation"] = flag(met, panic, retail, whale, returns)
    return pd.concat([rows[KEYS], s[S_COLUMNS]], axis=1)
