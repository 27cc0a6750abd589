"""How well each factor orders the contracts by what they did next: rank correlations, hour by hour.

Arrays, because the ranks of a month are half a billion, which lists or windows in SQL take several
times as long for. In memory are the rows of one month.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

HORIZONS = (1, 4, 24)  # hours
LABELS = tuple(f"y_{hours}h" for hours in HORIZONS)
BATCH_ROWS = 10_000
NUMBERS = ("double", "float", "integer", "int", "bigint", "smallint", "tinyint")
SCHEMA = pa.schema(
    [
        ("factor", pa.string()),
        ("horizon_hours", pa.int32()),
        ("mean_ic", pa.float64()),
        ("std_ic", pa.float64()),
        ("ir", pa.float64()),
        ("t_value", pa.float64()),
        ("n_hours", pa.int32()),
        ("mean_n_symbols", pa.float64()),
        ("known_at", pa.timestamp("us")),
    ]
)


class Ranks(NamedTuple):
    """Of rows of numbers, NaN where there is none."""

    centred: np.ndarray  # mean rank less (n + 1) / 2, 0 where there is no number
    there: np.ndarray  # where there is a number
    order: np.ndarray  # positions in rising order, those without a number last
    has_ties: np.ndarray  # by row


def ranks_of(values: np.ndarray) -> Ranks:
    """Ranks within each row; ties share the mean of theirs."""
    width = values.shape[1]
    order = np.argsort(values, axis=1)
    rising = np.take_along_axis(values, order, axis=1)
    there = ~np.isnan(values)
    n = there.sum(axis=1, keepdims=True)
    ranks = np.broadcast_to(np.arange(1.0, width + 1), values.shape).copy()
    is_tied = rising[:, 1:] == rising[:, :-1]
    has_ties = is_tied.any(axis=1)
    if has_ties.any():
        tied = np.flatnonzero(has_ties)
        begins = np.ones((len(tied), width), bool)
        begins[:, 1:] = ~is_tied[tied]
        starts = np.flatnonzero(begins)
        lengths = np.diff(starts, append=begins.size)
        means = starts % width + (lengths + 1) / 2
        ranks[tied] = np.repeat(means, lengths).reshape(len(tied), width)
    ranks -= (n + 1) / 2
    centred = np.empty_like(ranks)
    np.put_along_axis(centred, order, ranks, axis=1)
    centred[~there] = 0.0
    return Ranks(centred, there, order, has_ties)


def correlation(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Of centred ranks, row by row; NaN where either side is the same for all."""
    products = np.einsum("ij,ij->i", x, y)
    squares = np.einsum("ij,ij->i", x, x) * np.einsum("ij,ij->i", y, y)
    return products / np.sqrt(np.where(squares > 0, squares, np.nan))


def rank_correlations(
    factors: np.ndarray, labels: np.ndarray, min_symbols: int
) -> tuple[np.ndarray, np.ndarray]:
    """Rank correlations of an hour, and how many symbols have both.

    Args:
        factors: values by factor and symbol, NaN for none.
        labels: values by horizon and symbol, NaN for none.

    Returns:
        Two arrays by factor and horizon. NaN where fewer than `min_symbols` have both.
    """
    x, y = ranks_of(factors), ranks_of(labels)
    n = x.there.astype(float) @ y.there.T.astype(float)
    ics = np.full(n.shape, np.nan)
    for horizon, label in enumerate(labels):
        enough = n[:, horizon] >= min_symbols
        whole = x.there.all(axis=1) & y.there[horizon].all()
        # The ranks of the label among those that have the factor: counted along its rising order.
        counted = enough & ~whole & ~(x.there & ~y.there[horizon]).any(axis=1)
        counted &= not y.has_ties[horizon]
        again = enough & ~whole & ~counted
        whole &= enough
        if whole.any():
            ranks = np.broadcast_to(y.centred[horizon], factors[whole].shape)
            ics[whole, horizon] = correlation(x.centred[whole], ranks)
        if counted.any():
            rising = y.order[horizon]
            there = x.there[counted][:, rising]
            ranks = np.cumsum(there, axis=1) - (n[counted, horizon, None] + 1) / 2
            ics[counted, horizon] = correlation(x.centred[counted][:, rising], ranks * there)
        if again.any():
            both = x.there[again] & y.there[horizon]
            ics[again, horizon] = correlation(
                ranks_of(np.where(both, factors[again], np.nan)).centred,
                ranks_of(np.where(both, label, np.nan)).centred,
            )
    return ics, n


def hours_of(times: np.ndarray) -> list[np.ndarray]:
    """Positions of the rows of each hour."""
    order = np.argsort(times, kind="stable")
    in_order = times[order]
    return np.split(order, np.flatnonzero(in_order[1:] != in_order[:-1]) + 1)


def summary(ics: np.ndarray, n_symbols: np.ndarray) -> dict[str, float | int | None]:
    """Of the hours of a month that count."""
    counts = ~np.isnan(ics)
    n = int(counts.sum())
    if not n:
        return {"n_hours": 0}
    mean = float(ics[counts].mean())
    deviation = float(ics[counts].std(ddof=1)) if n > 1 else None
    return {
        "n_hours": n,
        "mean_ic": mean,
        "std_ic": deviation,
        "ir": mean / deviation if deviation else None,
        "mean_n_symbols": float(n_symbols[counts].mean()),
    }


def is_spark(session: Any) -> bool:  # noqa: ANN401
    """Whether the session is Spark's, not DuckDB's."""
    return type(session).__module__.startswith("pyspark.")


def model(dbt: Any, session: Any) -> Any:  # noqa: ANN401
    """One row per factor and horizon of the month that is to be built."""
    month = dbt.config.meta_get("month")
    not_factors = dbt.config.meta_get("not_factors").split()
    min_symbols = int(dbt.config.meta_get("ic_min_symbols"))
    dataset, labels = dbt.ref("final_dataset"), dbt.ref("forward_returns_hourly")
    if is_spark(session):
        types = dict(dataset.dtypes)
    else:
        types = {n: str(t).lower() for n, t in zip(dataset.columns, dataset.types, strict=True)}
    names = [name for name, kind in types.items() if kind in NUMBERS and name not in not_factors]
    found = SCHEMA.empty_table()
    if month:
        start = datetime.strptime(month, "%Y-%m")
        end = (start + timedelta(days=31)).replace(day=1)
        in_month = f"hour_ts >= timestamp '{start}' and hour_ts < timestamp '{end}'"
        batches = pairs(session, dataset.filter(in_month), labels.filter(in_month), names)
        found = month_of(batches, names, min_symbols, end)
    return session.createDataFrame(found) if is_spark(session) else found


def pairs(
    session: Any,  # noqa: ANN401
    dataset: Any,  # noqa: ANN401
    labels: Any,  # noqa: ANN401
    names: Sequence[str],
) -> Iterator[pa.RecordBatch]:
    """Rows that have a label: hour_ts, the labels, and the factors as doubles."""
    casts = [f"cast({name} as double) as {name}" for name in (*LABELS, *names)]
    has_label = f"coalesce({', '.join(LABELS)}) is not null"
    if is_spark(session):
        joined = dataset.join(labels.select("symbol", "hour_ts", *LABELS), ["symbol", "hour_ts"])
        rows = joined.filter(has_label).selectExpr("hour_ts", *casts)
        return iter(rows.toArrow().to_batches(BATCH_ROWS))
    joined = dataset.join(labels, "symbol, hour_ts").filter(has_label)
    return iter(joined.project(", ".join(["hour_ts", *casts])).to_arrow_reader(BATCH_ROWS))


def month_of(
    batches: Iterable[pa.RecordBatch], names: Sequence[str], min_symbols: int, end: datetime
) -> pa.Table:
    """The table's rows of a month that ends at ``end``, from its ``pairs``."""
    kept = [
        (
            batch["hour_ts"].to_numpy(zero_copy_only=False),
            np.array([batch[n].to_numpy(zero_copy_only=False) for n in (*LABELS, *names)]),
        )
        for batch in batches
    ]
    hours = hours_of(np.concatenate([times for times, _ in kept])) if kept else []
    numbers = np.concatenate([of_batch for _, of_batch in kept], axis=1) if kept else None
    del kept
    ics = np.full((len(hours), len(names), len(HORIZONS)), np.nan)
    n_symbols = np.zeros_like(ics)
    for hour, positions in enumerate(hours):
        of_hour = numbers[:, positions]
        ics[hour], n_symbols[hour] = rank_correlations(
            of_hour[len(LABELS) :], of_hour[: len(LABELS)], min_symbols
        )
    found = []
    for i, name in enumerate(names):
        for j, horizon in enumerate(HORIZONS):
            cell = summary(ics[:, i, j], n_symbols[:, i, j])
            if cell.get("ir") is not None:
                cell["t_value"] = cell["ir"] * (cell["n_hours"] / horizon) ** 0.5
            known_at = end + timedelta(hours=horizon, milliseconds=1)
            found.append({"factor": name, "horizon_hours": horizon, "known_at": known_at, **cell})
    return pa.Table.from_pylist(found, SCHEMA)
