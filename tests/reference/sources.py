"""What the sources make together: archive before API, and liquidations hour by hour.

Inputs of the archive stand under their own names, those of other sources under ``source/name``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from .common import KEYS, Inputs
from .open_interest import AS_OF, LABEL_CHANGE, ZERO_IS_A_VALUE, snapshots

FIVE = pd.Timedelta(minutes=5)
HOUR = pd.Timedelta(hours=1)
MARKET = "_market"
BARS = [
    f"{kind}_{interval}"
    for kind in ("klines", "mark_price_klines", "index_price_klines", "premium_index_klines")
    for interval in ("1m", "1h")
]
# series of the API -> its columns and the columns of metrics that they stand for
SERIES = {
    "open_interest_5m": {
        "sum_open_interest": "sum_open_interest",
        "sum_open_interest_value": "sum_open_interest_value",
    },
    "top_position_ratio_5m": {"long_short_ratio": "sum_toptrader_long_short_ratio"},
    "top_account_ratio_5m": {"long_short_ratio": "count_toptrader_long_short_ratio"},
    "global_account_ratio_5m": {"long_short_ratio": "count_long_short_ratio"},
    "taker_ratio_5m": {"buy_sell_ratio": "sum_taker_long_short_vol_ratio"},
}
PREFERENCE = ["archive", "tardis", "stream", "import"]
ORDERS_ARE_PRICED_FROM = pd.Timestamp("2023-01-23")  # before it Tardis gives the average
KEY = ["contract", "side", "trade_time", "original_quantity", "price"]  # of an order of the stream
EVENT_COLUMNS = [
    "symbol", "source", "event_time", "receive_time", "available_time", "hour_ts", "side",
    "liquidated_position", "price", "average_price", "quantity", "value", "n_copies",
]  # fmt: skip

Spans = Mapping[str, Sequence[tuple[str, pd.Timestamp, pd.Timestamp]]]


def complete(inputs: Inputs) -> dict[str, pd.DataFrame]:
    """The inputs, with bars, settlements and metrics that only the API has; ``source`` says so."""
    out = dict(inputs)
    for name in BARS:
        out[name] = _joined(inputs, name, "open_time", lambda times: times)
    settled = inputs.get("api/funding_rate", pd.DataFrame(columns=["symbol", "funding_time"]))
    api = settled.rename(columns={"funding_time": "calc_time"})
    out["funding_rate"] = _joined(
        dict(inputs) | {"api/funding_rate": api.assign(funding_interval_hours=np.nan)},
        "funding_rate",
        "calc_time",
        lambda times: times.dt.round("min"),
    )
    out["metrics"] = metrics(inputs)
    return out


def _joined(inputs: Inputs, name: str, time: str, identity: Any) -> pd.DataFrame:
    """Rows of the archive, then those of the API at times that the archive does not have."""
    archive, api = (
        inputs.get(key, pd.DataFrame(columns=["symbol", time])) for key in (name, f"api/{name}")
    )
    held, asked = (
        pd.MultiIndex.from_arrays([rows["symbol"], identity(pd.to_datetime(rows[time]))])
        for rows in (archive, api)
    )
    api = api[~asked.isin(held)]
    parts = [archive.assign(source="archive"), api.assign(source="api")]
    return pd.concat([p for p in parts if len(p)] or parts[:1], ignore_index=True)


def metrics(inputs: Inputs) -> pd.DataFrame:
    """Metrics under the labels of the archive; ``source`` is that of the open interest."""
    rows: dict[tuple[str, pd.Timestamp], dict[str, Any]] = {}
    for row in snapshots(inputs, None).to_dict("records"):
        moved = FIVE if row["file_date"] >= LABEL_CHANGE else pd.Timedelta(0)
        rows[row["symbol"], row["label"]] = {str(k): v for k, v in row.items()} | {
            "moment": row["label"] + moved,
            "source": "archive" if row["sum_open_interest"] > 0 else None,
        }
    for name, columns in SERIES.items():
        for given in inputs.get(f"api/{name}", pd.DataFrame()).to_dict("records"):
            moment = given["timestamp"]
            if moment == LABEL_CHANGE:
                continue  # its label is that of the next five minutes
            label = moment - FIVE if moment > LABEL_CHANGE else moment
            fresh = {"symbol": given["symbol"], "label": label, "moment": moment, "source": None}
            row = rows.setdefault((given["symbol"], label), fresh | dict.fromkeys(AS_OF, np.nan))
            if row["moment"] != moment:
                continue
            for theirs, ours in columns.items():
                known = given[theirs] != 0 or ours in ZERO_IS_A_VALUE
                if np.isnan(row[ours]) and known and not np.isnan(given[theirs]):
                    row[ours] = given[theirs]
                    if ours == "sum_open_interest":
                        row["source"] = "api"
    out = pd.DataFrame(rows.values(), columns=["symbol", "label", "source", *AS_OF])
    out["create_time"] = out["file_date"] = out["label"]
    return out


def liquidations(inputs: Inputs) -> pd.DataFrame:
    """One row per order and source, with the number of rows that say the same."""
    events: list[dict[str, Any]] = []
    archive = inputs.get("liquidation_snapshot", pd.DataFrame())
    for row, n in _copies(archive).items():
        events.append(_order(dict(row), "archive", dict(row)["time"], None, n))
    tardis = inputs.get("tardis/liquidations", pd.DataFrame()).drop(
        columns="symbol", errors="ignore"
    )
    for row, n in _copies(tardis).items():
        given = dict(row)
        priced = given["local_timestamp"] >= ORDERS_ARE_PRICED_FROM
        order = {
            "symbol": given["contract"],
            "side": given["side"].upper(),
            "price": given["price"] if priced else None,
            "average_price": None if priced else given["price"],
            "accumulated_fill_quantity": given["amount"],
        }
        events.append(_order(order, "tardis", given["timestamp"], given["local_timestamp"], n))
    for source, order_by in (("stream", ["receive_time", "connection"]), ("import", ["file"])):
        rows = inputs.get(f"{source}/liquidations", pd.DataFrame(columns=[*KEY, *order_by]))
        for _, same in rows.sort_values(order_by).groupby(KEY):
            first = same.iloc[0].to_dict()
            first["symbol"] = first["contract"]
            received = first.get("receive_time")
            events.append(_order(first, source, first["trade_time"], received, len(same)))
    return pd.DataFrame(events, columns=EVENT_COLUMNS)


def _copies(frame: pd.DataFrame) -> Counter[tuple[tuple[str, Any], ...]]:
    """How often each row occurs, by its items; an empty cell is None."""
    records = frame.astype(object).where(frame.notna(), None).to_dict("records")
    return Counter(tuple(sorted((str(k), v) for k, v in r.items())) for r in records)


def _order(
    given: dict[str, Any], source: str, filled: pd.Timestamp, received: Any, n: int
) -> dict[str, Any]:
    known = filled if received is None else received
    average = given["average_price"]
    paid = average if average is not None and average > 0 else given["price"]
    return {
        "symbol": given["symbol"],
        "source": source,
        "event_time": filled,
        "receive_time": received,
        "available_time": known,
        "hour_ts": known.floor("h"),
        "side": given["side"],
        "liquidated_position": {"SELL": "long", "BUY": "short"}[given["side"]],
        "price": given["price"],
        "average_price": average,
        "quantity": given["accumulated_fill_quantity"],
        "value": given["accumulated_fill_quantity"] * paid,
        "n_copies": n,
    }


def covers(spans: Sequence[tuple[str, pd.Timestamp, pd.Timestamp]], symbol: str, hour: Any) -> bool:
    """Is every moment of the hour inside the spans, those of the contract or of the market?"""
    for owner in (symbol, MARKET):
        reached = hour
        for _, start, end in sorted((s for s in spans if s[0] == owner), key=lambda s: s[1]):
            if start <= reached:
                reached = max(reached, end)
        if reached >= hour + HOUR:
            return True
    return False


def feed_coverage(rows: pd.DataFrame, events: pd.DataFrame, spans: Spans) -> pd.DataFrame:
    """For every row of the spine: which source counts, and what the sources have in the hour."""
    out = []
    counts = Counter(zip(events["symbol"], events["hour_ts"], events["source"], strict=True))
    for symbol, hour in rows[KEYS].itertuples(index=False, name=None):
        source = next((s for s in PREFERENCE if covers(spans.get(s, []), symbol, hour)), None)
        n = {s: counts[symbol, hour, s] for s in PREFERENCE}
        other = sum(count for s, count in n.items() if s != source)
        out.append(
            {
                "symbol": symbol,
                "hour_ts": hour,
                "ok": source is not None,
                "source": source,
                "n_events": np.nan if source is None else n[source],
                "n_other_events": other,
                "is_mixed": other > 0,
            }
        )
    return pd.DataFrame(out)
