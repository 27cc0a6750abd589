"""How well each factor orders the contracts by what they did next: rank correlations, hour by hour.

Arrays, because the ranks of a month are half a billion, which lists or windows in SQL take several
times as long for. In memory are the rows of one month.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

HORIZONS = (1, 4, 24)  # hours
LABELS = tuple(f"y_{hours}h" for hours in HORIZONS)
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
    """Of rows of numbers, NaN where there is none. Twice the ranks are whole numbers: sums of their
    products are exact, in whatever order they are added."""

    doubled: np.ndarray  # twice: mean rank less (n + 1) / 2; 0 where there is no number
    squares: np.ndarray  # their sum of squares, by row
    there: np.ndarray  # where there is a number
    n: np.ndarray  # of numbers, by row


def ranks_of(values: np.ndarray) -> Ranks:
    """Ranks within each row of finite numbers; ties share the mean of theirs."""
    height, width = values.shape
    there = ~np.isnan(values)
    n = there.sum(axis=1)
    # Positions in rising order, those without a number last. NaN takes a sort twice the time.
    places = np.argsort(np.where(there, values, np.inf), axis=1)
    places += np.arange(height)[:, None] * width
    rising = values.ravel()[places]
    ranks = np.arange(2.0, 2 * width + 1, 2) - (n + 1)[:, None]
    is_tied = rising[:, 1:] == rising[:, :-1]
    tied = np.flatnonzero(is_tied.any(axis=1))
    if len(tied):
        begins = np.ones((len(tied), width), bool)
        begins[:, 1:] = ~is_tied[tied]
        starts = np.flatnonzero(begins)
        lengths = np.diff(starts, append=begins.size)
        means = np.repeat(2 * (starts % width) + lengths + 1.0, lengths)
        ranks[tied] = means.reshape(len(tied), width) - (n[tied] + 1)[:, None]
    doubled = np.empty_like(ranks)
    doubled.ravel()[places] = ranks
    doubled *= there
    return Ranks(doubled, np.einsum("ij,ij->i", doubled, doubled), there, n)


def label_ranks(label: np.ndarray, there: np.ndarray, n: np.ndarray) -> tuple[np.ndarray, ...]:
    """The ranks of a label among those that have a factor, for each factor.

    Returns:
        The rising order, and in it by factor twice the centred ranks.
    """
    order = np.argsort(label)
    rising = label[order]
    before = np.searchsorted(rising, rising, "left")
    through = np.searchsorted(rising, rising, "right")
    in_order = there[:, order]
    counts = np.zeros((len(there), len(label) + 1), np.int32)
    np.cumsum(in_order, axis=1, out=counts[:, 1:])
    ranks = counts[:, before] + counts[:, through] - n[:, None].astype(np.int32)
    return order, np.multiply(ranks, in_order, dtype=float)


def rank_correlations(
    factors: np.ndarray, labels: np.ndarray, min_symbols: int
) -> tuple[np.ndarray, np.ndarray]:
    """Rank correlations of an hour, and how many symbols have both.

    Args:
        factors: values by factor and symbol, NaN for none.
        labels: values by horizon and symbol, NaN for none.

    Returns:
        Two arrays by factor and horizon. NaN where fewer than `min_symbols` have both, or either
        side is the same for all.
    """
    ics = np.full((len(factors), len(labels)), np.nan)
    n = np.zeros_like(ics)
    has_label = ~np.isnan(labels)
    ranked: dict[bytes, Ranks] = {}  # horizons mostly have the same contracts
    for horizon, there in enumerate(has_label):
        x = ranked.get(there.tobytes())
        if x is None:
            x = ranked[there.tobytes()] = ranks_of(factors[:, there])
        n[:, horizon] = x.n
        label = labels[horizon, there]
        enough = x.n >= min_symbols
        whole = enough & (x.n == len(label))
        if whole.any():
            y = ranks_of(label[None])
            ics[whole, horizon] = correlation(
                x.doubled[whole] @ y.doubled[0], x.squares[whole], y.squares
            )
        part = enough & ~whole
        if part.any():
            order, ranks = label_ranks(label, x.there[part], x.n[part])
            ics[part, horizon] = correlation(
                np.einsum("ij,ij->i", x.doubled[part][:, order], ranks),
                x.squares[part],
                np.einsum("ij,ij->i", ranks, ranks),
            )
    return ics, n


def correlation(products: np.ndarray, squares: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Of sums of products and of squares; NaN where either side is the same for all."""
    both = squares * others
    return products / np.sqrt(np.where(both > 0, both, np.nan))


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
        rows = pairs(session, dataset.filter(in_month), labels.filter(in_month), names)
        found = month_of(rows, names, min_symbols, end)
    return session.createDataFrame(found) if is_spark(session) else found


def pairs(
    session: Any,  # noqa: ANN401
    dataset: Any,  # noqa: ANN401
    labels: Any,  # noqa: ANN401
    names: Sequence[str],
) -> pa.Table:
    """Rows that have a label: hour_ts, the labels, and the factors as doubles."""
    casts = [f"cast({name} as double) as {name}" for name in (*LABELS, *names)]
    has_label = f"coalesce({', '.join(LABELS)}) is not null"
    if is_spark(session):
        joined = dataset.join(labels.select("symbol", "hour_ts", *LABELS), ["symbol", "hour_ts"])
        return joined.filter(has_label).selectExpr("hour_ts", *casts).toArrow()
    joined = dataset.join(labels, "symbol, hour_ts").filter(has_label)
    return joined.project(", ".join(["hour_ts", *casts])).to_arrow_table()


def month_of(rows: pa.Table, names: Sequence[str], min_symbols: int, end: datetime) -> pa.Table:
    """The table's rows of a month that ends at ``end``, from its ``pairs``."""
    numbers = np.empty((len(LABELS) + len(names), len(rows)))
    for i, name in enumerate((*LABELS, *names)):
        numbers[i] = rows[name].to_numpy()
    hours = hours_of(rows["hour_ts"].to_numpy()) if len(rows) else []
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
