"""Compare two tables row by row and column by column, and say readably where they differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from .common import KEYS, Floats

EXAMPLES = 3


@dataclass(frozen=True)
class Difference:
    """One column, or one set of rows, that differs."""

    column: str
    kind: str  # missing column, missing row, extra row, duplicate key, NULL, value
    n: int
    examples: tuple[tuple[Any, ...], ...] = ()  # (*key, reference value, actual value)

    def __str__(self) -> str:
        head = f"{self.column}: {self.kind}, n={self.n}"
        lines = ["  " + "  ".join(str(part) for part in example) for example in self.examples]
        return "\n".join([head, *lines])


def _numbers(x: pd.Series[Any]) -> Floats:
    known = x if _is_number(x) else pd.to_numeric(x, errors="coerce")
    return np.asarray(known.astype("Float64").to_numpy(dtype="float64", na_value=np.nan))


def _is_number(x: pd.Series[Any]) -> bool:
    return pd.api.types.is_numeric_dtype(x) or pd.api.types.is_bool_dtype(x)


def _mismatch(
    ref: pd.Series[Any], act: pd.Series[Any], rel: float, floor: float
) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Where both are non-NULL: do the values differ?"""
    if _is_number(ref):
        r, a = _numbers(ref), _numbers(act)
        finite = np.abs(r[np.isfinite(r)])
        scale = float(finite.max()) if len(finite) else 0.0
        with np.errstate(invalid="ignore"):
            return ~(np.abs(r - a) <= rel * np.abs(r) + floor * scale)
    if pd.api.types.is_datetime64_any_dtype(ref):
        times = [pd.to_datetime(x).astype("datetime64[us]").to_numpy() for x in (ref, act)]
        return np.asarray(times[0] != times[1])
    pairs = zip(ref.tolist(), act.tolist(), strict=True)
    return np.array([r != a for r, a in pairs], dtype=bool)


def compare(
    reference: pd.DataFrame,
    actual: pd.DataFrame,
    rel: float = 1e-9,
    keys: Sequence[str] = tuple(KEYS),
    *,
    floor: float = 1e-12,
    extra_columns: bool = True,
) -> list[Difference]:
    """Differences of `actual` from `reference`; an empty list means they agree.

    NULL must stand in the same places. Numbers may differ by `rel` times the reference value plus
    `floor` times the largest magnitude of the reference column (sums that cancel have noise of
    that order). With `extra_columns=False` columns unknown to the reference count as differences.
    """
    keys = list(keys)
    out: list[Difference] = []
    lost = [c for c in reference.columns if c not in actual.columns]
    out += [Difference(c, "missing column", len(reference)) for c in lost]
    if not extra_columns:
        strangers = [c for c in actual.columns if c not in reference.columns]
        out += [Difference(c, "extra column", len(actual)) for c in strangers]
    if set(keys) & set(lost):
        return out

    sides: list[pd.DataFrame] = []
    for side, frame in (("reference", reference), ("actual", actual)):
        index = pd.MultiIndex.from_arrays(
            [
                pd.to_datetime(frame[k]).astype("datetime64[us]")
                if pd.api.types.is_datetime64_any_dtype(reference[k])
                else frame[k].astype(object)
                for k in keys
            ],
            names=keys,
        )
        again = index.duplicated()
        if again.any():
            first = tuple(tuple(k) for k in index[again][:EXAMPLES])
            out.append(
                Difference("+".join(keys), f"duplicate key in {side}", int(again.sum()), first)
            )
        sides.append(frame.set_axis(index, axis=0)[~again])
    ref, act = sides
    for kind, here, there in (("missing row", ref, act), ("extra row", act, ref)):
        only = here.index[~here.index.isin(there.index)]
        if len(only):
            first = tuple(tuple(k) for k in only[:EXAMPLES])
            out.append(Difference("+".join(keys), kind, len(only), first))

    common = ref.index[ref.index.isin(act.index)]
    ref, act = ref.loc[common], act.loc[common]
    for column in (c for c in reference.columns if c not in keys and c not in lost):
        r, a = ref[column], act[column]
        r_null, a_null = r.isna().to_numpy(), a.isna().to_numpy()
        unequal = _mismatch(r, a, rel, floor) & ~r_null & ~a_null
        for kind, where in (("NULL", r_null != a_null), ("value", unequal)):
            at = np.flatnonzero(where)
            if len(at):
                shown = tuple((*common[i], r.iloc[i], a.iloc[i]) for i in at[:EXAMPLES])
                out.append(Difference(column, kind, len(at), shown))
    return out
