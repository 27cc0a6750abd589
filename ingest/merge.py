"""Add rows to a partition whose source answers in pieces: pulls, daily vendor files, recordings."""

from __future__ import annotations

from pathlib import PurePath
from typing import Literal

import polars as pl
import pyarrow as pa

from ingest.datasets import Dataset
from ingest.decode import time_span
from ingest.errors import PerpError
from ingest.lake import Lake, LandingRecord, write_parquet
from ingest.store import store_of


def merge_into(
    lake: Lake,
    record: LandingRecord,
    rows: pa.Table,
    *,
    prefer: Literal["held", "new"],
    replaced: pl.Expr | None = None,
) -> LandingRecord:
    """Write the partition of ``record`` with further rows, and complete the record.

    Rows that agree in the dataset's key are one row; without a key all rows stay. The record
    counts what was dropped: ``duplicates_dropped`` where all values agree, ``conflicts_dropped``
    where they do not. Merging the same rows again changes nothing and counts nothing.

    Args:
        record: says which partition; its status, files and coverage are the caller's.
        rows: in the dataset's schema, any order.
        prefer: which of two rows with the same key stays; of two new ones the earlier in time,
            and at the same time the first where ``held`` is preferred, else the last.
        replaced: held rows for which this is true make way for the new ones.
    """
    spec = record.spec
    path = lake.partition_of(record)
    held_frame, new_frame = _frame(_held(path, spec)), _frame(rows.cast(spec.schema))
    if replaced is not None:
        held_frame = held_frame.filter(~replaced)
    merged = pl.concat([held_frame, new_frame])
    if spec.key:
        merged, duplicates, conflicts = _distinct(spec, held_frame, new_frame, prefer)
        record.duplicates_dropped += duplicates
        record.conflicts_dropped += conflicts
    order = [spec.time_column, *(c for c in spec.schema.names if c != spec.time_column)]
    table = merged.sort(order, nulls_last=True).to_arrow().cast(spec.schema)
    record.rows_in += rows.num_rows
    record.rows_out = table.num_rows
    record.first_time, record.last_time = time_span(table, spec)
    record.parquet_bytes, record.parquet_sha256 = write_parquet(path, table, spec)
    return record


def _held(path: PurePath, spec: Dataset) -> pa.Table:
    try:
        return store_of(path).parquet(path).read()
    except FileNotFoundError:
        return spec.schema.empty_table()
    except pa.ArrowInvalid as error:
        raise PerpError(
            f"{path} is damaged ({error}); move it away and run this command again: what its "
            "source still has will be asked for again"
        ) from error


def _frame(table: pa.Table) -> pl.DataFrame:
    return pl.DataFrame(table)


def _distinct(
    spec: Dataset, held: pl.DataFrame, new: pl.DataFrame, prefer: Literal["held", "new"]
) -> tuple[pl.DataFrame, int, int]:
    """One row per key; and how many equal and how many differing rows that has cost."""
    # The very rows that are held have been merged before: no duplicates of them.
    new = new.join(held, on=spec.schema.names, how="anti", nulls_equal=True)
    if prefer == "new":
        new = new.reverse()
    rank = {"held": 0 if prefer == "held" else 1, "new": 1 if prefer == "held" else 0}
    ranked = pl.concat(
        [
            held.with_columns(pl.lit(rank["held"]).alias("_rank")),
            new.with_columns(pl.lit(rank["new"]).alias("_rank")),
        ]
    ).sort(["_rank", spec.time_column], maintain_order=True)
    keys = list(spec.key)
    chosen = ranked.unique(keys, keep="first", maintain_order=True)
    values = [c for c in spec.schema.names if c not in ("receive_time", "connection", "file")]
    dropped = ranked.height - chosen.height
    different = ranked.unique(values).height - chosen.height
    return chosen.drop("_rank"), dropped - different, different


def months_of(rows: pa.Table, spec: Dataset) -> dict[str, pa.Table]:
    """Rows by the month (``YYYY-MM``) of the dataset's time column."""
    frame = _frame(rows).with_columns(pl.col(spec.time_column).dt.strftime("%Y-%m").alias("_month"))
    return {
        str(month): part.drop("_month").to_arrow().cast(spec.schema)
        for (month,), part in frame.group_by(["_month"], maintain_order=True)
    }
