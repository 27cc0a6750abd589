"""Family N: Supertrend, forced trades as setups, and the flips that confirm them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from .cleaning import frame_before
from .common import KEYS, Floats, divide, segments
from .transforms import ln, z

N_COLUMNS = [
    "atr_10",
    "st_upper",
    "st_lower",
    "st_line",
    "st_dir",
    "st_flip",
    "st_dist_logret",
    "st_bars_since_flip",
    "setup_long_flush",
    "setup_short_squeeze",
    "setup_source",
    "setup_long_flush_strength",
    "setup_short_squeeze_strength",
    "bars_since_long_flush",
    "bars_since_short_squeeze",
    "sig_reversal_long",
    "sig_squeeze_long",
    "sig_reversal_short",
    "sig_flush_short",
    "n_signal",
    "n_bars_to_confirm",
]
SETUP_COLUMNS = [name for name in N_COLUMNS if name.startswith("setup_")]
SETUPS = ["long_flush", "short_squeeze"]
# the direction of the flip and the setup of the ended leg
SIGNALS = {
    "sig_reversal_long": (1, "long_flush"),
    "sig_squeeze_long": (1, "short_squeeze"),
    "sig_reversal_short": (-1, "short_squeeze"),
    "sig_flush_short": (-1, "long_flush"),
}
WARM_UP_BARS = 200
SETUP_LEAST = 504
PROXY_ROWS, PROXY_LEAST = 200, 150
PROXY_Z = 3.0


def true_range(high: Floats, low: Floats, close: Floats) -> Floats:
    out = high - low
    for i in range(1, len(close)):
        out[i] = max(out[i], abs(high[i] - close[i - 1]), abs(low[i] - close[i - 1]))
    return out


def supertrend(
    high: Floats, low: Floats, close: Floats, n: int = 10, k: float = 3.0
) -> pd.DataFrame:
    """Per bar: atr, upper, lower and dir (+1 up, -1 down), from the n-th bar on."""
    size = len(close)
    ranges = true_range(high, low, close)
    atr, upper, lower, direction = (np.full(size, np.nan) for _ in range(4))
    for i in range(n - 1, size):
        middle = (high[i] + low[i]) / 2
        if i == n - 1:
            atr[i] = ranges[:n].mean()
            upper[i] = middle + k * atr[i]
            lower[i] = middle - k * atr[i]
            direction[i] = 1 if close[i] >= middle else -1
            continue
        atr[i] = atr[i - 1] + (ranges[i] - atr[i - 1]) / n
        upper[i], lower[i] = middle + k * atr[i], middle - k * atr[i]
        if upper[i] >= upper[i - 1] and close[i - 1] <= upper[i - 1]:
            upper[i] = upper[i - 1]
        if lower[i] <= lower[i - 1] and close[i - 1] >= lower[i - 1]:
            lower[i] = lower[i - 1]
        direction[i] = direction[i - 1]
        if direction[i - 1] == 1 and close[i] < lower[i]:
            direction[i] = -1
        elif direction[i - 1] == -1 and close[i] > upper[i]:
            direction[i] = 1
    return pd.DataFrame({"atr": atr, "upper": upper, "lower": lower, "dir": direction})


def confirmations(direction: Floats, setups: pd.DataFrame, timeout_bars: int = 8) -> pd.DataFrame:
    """Flips, ages and signals per bar; `setups` has a column of 0, 1 or NULL per kind of setup."""
    happened = {kind: (setups[kind] == 1).tolist() for kind in SETUPS}
    records: list[dict[str, float]] = []
    last_flip: int | None = None
    latest: dict[str, int] = {}  # the youngest setup of each kind in the leg
    for i in range(len(direction)):
        for kind in SETUPS:
            if happened[kind][i]:
                latest[kind] = i
        change = direction[i] - direction[i - 1] if i else np.nan
        flip = 0 if np.isnan(change) else int(np.sign(change))
        record: dict[str, float] = {"st_flip": flip}
        used: list[int] = []
        for name, (side, kind) in SIGNALS.items():
            fits = flip == side and kind in latest and i - latest[kind] <= timeout_bars
            record[name] = int(fits)
            if fits:
                used.append(i - latest[kind])
        record["n_signal"] = flip if used else 0
        if used:
            record["n_bars_to_confirm"] = min(used)
        if flip:
            last_flip, latest = i, {}
        if last_flip is not None:
            record["st_bars_since_flip"] = i - last_flip
        record |= {f"bars_since_{kind}": i - at for kind, at in latest.items()}
        records.append(record)
    columns = ["st_flip", "st_bars_since_flip", *(f"bars_since_{kind}" for kind in SETUPS)]
    columns += [*SIGNALS, "n_signal", "n_bars_to_confirm"]
    return pd.DataFrame(records, columns=columns, dtype="float64")


def threshold(x: Floats, q: float, window: int) -> Floats:
    """The quantile of the covered hours among the `window` rows before."""
    out = np.full(len(x), np.nan)
    for i in range(len(x)):
        base = frame_before(x, i, window)
        if len(base) >= SETUP_LEAST:
            out[i] = np.quantile(base, q)
    return out


def segment_setups(own: pd.DataFrame, setup_q: float, setup_window: int) -> pd.DataFrame:
    """The setup columns of every row of a segment."""
    out = pd.DataFrame(np.nan, index=own.index, columns=SETUP_COLUMNS)
    out["setup_source"] = pd.Series(None, index=own.index, dtype="object")
    with_bar = own["has_bar"] == 1
    bought = own["taker_buy_quote_volume"]
    move = own["close"] / own["open"]
    evidence = {
        "long_flush": ("long_liq_volume", own["quote_volume"] - bought, move < 1),
        "short_squeeze": ("short_liq_volume", bought, move > 1),
    }
    for kind, (volume, taken, moved) in evidence.items():
        forced = own[volume].where(own["liq_feed_ok"] == 1)
        limit = pd.Series(
            threshold(forced.to_numpy(dtype="float64"), setup_q, setup_window), index=own.index
        )
        with np.errstate(divide="ignore", invalid="ignore"):
            distance = z(taken.to_numpy(dtype="float64"), PROXY_ROWS, PROXY_LEAST)
        score = pd.Series(distance, index=own.index)

        by_liq = with_bar & forced.notna() & limit.notna()
        by_proxy = with_bar & ~by_liq & score.notna()
        setup = pd.Series(np.nan, index=own.index)
        setup[by_liq] = ((forced > 0) & (forced > limit)).astype("float64")
        setup[by_proxy] = ((score > PROXY_Z) & moved).astype("float64")
        strength = divide(forced, limit).where(by_liq, score).where(setup == 1)
        out[f"setup_{kind}"] = setup
        out[f"setup_{kind}_strength"] = strength
        out.loc[by_liq, "setup_source"] = "liq"
        out.loc[by_proxy, "setup_source"] = "proxy"
    return out


def family_n(
    bars: pd.DataFrame,
    liquidations: pd.DataFrame,
    *,
    st_n: int = 10,
    st_k: float = 3.0,
    timeout_bars: int = 8,
    setup_q: float = 0.99,
    setup_window: int = 720,
) -> pd.DataFrame:
    """Family N on the rows of `bars`; an hour that `liquidations` lacks has no feed."""
    names = ["has_bar", "listing_segment", "open", "high", "low", "close"]
    names += ["quote_volume", "taker_buy_quote_volume"]
    feed = ["long_liq_volume", "short_liq_volume", "liq_feed_ok"]
    known = liquidations[[*KEYS, *feed]].astype({"hour_ts": "datetime64[us]"})
    given = bars[[*KEYS, *names]].astype({"hour_ts": "datetime64[us]"})
    given = given.merge(known, on=KEYS, how="left", validate="one_to_one")
    numbers = ["open", "high", "low", "close", "quote_volume", "taker_buy_quote_volume", *feed]
    given = given.astype(dict.fromkeys(numbers, "float64"))
    out = pd.DataFrame(np.nan, index=given.index, columns=N_COLUMNS)
    out["setup_source"] = pd.Series(None, index=given.index, dtype="object")
    for _, own in segments(given.sort_values(KEYS)):
        setups = segment_setups(own, setup_q, setup_window)
        out.loc[own.index, SETUP_COLUMNS] = setups
        own = own[own["has_bar"] == 1]
        high, low, close = (own[name].to_numpy() for name in ("high", "low", "close"))
        trend = supertrend(high, low, close, st_n, st_k)
        line = trend["lower"].where(trend["dir"] == 1, trend["upper"])
        flags = setups.loc[own.index, [f"setup_{kind}" for kind in SETUPS]].set_axis(SETUPS, axis=1)
        part = confirmations(trend["dir"].to_numpy(), flags, timeout_bars)
        part["atr_10"], part["st_dir"] = trend["atr"], trend["dir"]
        part["st_upper"], part["st_lower"], part["st_line"] = trend["upper"], trend["lower"], line
        part["st_dist_logret"] = ln(np.asarray(divide(pd.Series(close), line)))
        part.iloc[:WARM_UP_BARS] = np.nan
        out.loc[own.index, list(part)] = part.to_numpy()
    return pd.concat([given[KEYS], out], axis=1).set_axis(bars.index)
