"""Writers: each puts a selection of the wide table into a folder, in one layout.

Memory is bounded by a block of rows, whatever the size of the table.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow.parquet as pq

from ingest.errors import UsageError
from ingest.export.source import BLOCK_BYTES, HOUR, Numbers, Selection, Source
from ingest.names import encode_symbol
from ingest.progress import Progress
from ingest.warehouse import quoted

PARQUET = "final_dataset_all.parquet"
PANEL = "panel.npz"
QLIB_FIELDS = ("open", "high", "low", "close", "volume", "vwap")
FEATURE_DELAY = np.timedelta64(3_600_001, "ms")  # from the start of the hour to its feature_time


def write_parquet(source: Source, selection: Selection, folder: Path) -> None:
    """One file, sorted by symbol and time, a row group or more a symbol; values as they are."""
    keys = "symbol, hour_ts as datetime, bar_end_time, feature_time"
    columns = ", ".join([keys, *map(quoted, selection.names)])
    empty = source.arrow(*source.query(selection, columns, symbols=[""]))
    with (
        pq.ParquetWriter(
            folder / PARQUET, empty.schema, compression="zstd", write_statistics=True
        ) as writer,
        _progress("parquet", selection) as progress,
    ):
        for group in selection.groups():
            rows = source.arrow(*source.query(selection, columns, group))
            done = 0
            for symbol in group:
                count = selection.rows_of(symbol)
                if count:
                    writer.write_table(rows.slice(done, count))
                done += count
                _finish(progress, count)


def write_csv(source: Source, selection: Selection, folder: Path) -> None:
    """One file a symbol: ``datetime`` and numbers, flags as 1 and 0, NULL as an empty cell."""
    name = "train" if selection.wish.mask else "1h"
    numbers = (
        f"cast({quoted(c.name)} as tinyint) as {quoted(c.name)}"
        if c.data_type == "BOOLEAN"
        else quoted(c.name)
        for c in selection.columns
    )
    columns = ", ".join(["hour_ts as datetime", *numbers])
    (folder / "1h").mkdir()
    with _progress("csv", selection) as progress:
        for symbol in selection.symbols:
            path = folder / "1h" / f"{file_name(symbol)}_{name}.csv"
            query, parameters = source.query(selection, columns, [symbol])
            source.copy_csv(query, parameters, path)
            progress.add_bytes(path.stat().st_size)
            _finish(progress, selection.rows_of(symbol))


def write_qlib(source: Source, selection: Selection, folder: Path) -> None:
    """Calendar, instruments with their listing spans, and one array a symbol and field.

    An array is little endian float32: the index of its first hour in the calendar, then a value an
    hour from the symbol's first hour to its last; NaN where the table has no value or no row.
    """
    fields = _lower_case(selection.names, "fields")
    names = _lower_case([file_name(s) for s in selection.symbols], "symbols")
    hours = selection.hours
    for part in ("calendars", "instruments", "features"):
        (folder / part).mkdir()
    _write_lines(folder / "calendars" / "60min.txt", map(_time, hours))
    _write_lines(
        folder / "instruments" / "all.txt",
        (f"{file_name(s.symbol)}\t{_time(s.first)}\t{_time(s.last)}" for s in selection.spans),
    )
    with _progress("qlib", selection) as progress:
        for group in selection.groups():
            numbers = source.numbers(selection, group)
            done = 0
            for symbol in group:
                count = selection.rows_of(symbol)
                features = folder / "features" / names[file_name(symbol)]
                features.mkdir()
                rows = slice(done, done + count)
                for field, array in _arrays(selection, symbol, numbers, rows, hours[0]):
                    array.tofile(features / f"{fields[field]}.60min.bin")
                    progress.add_bytes(array.nbytes)
                done += count
                _finish(progress, count)


def _arrays(
    selection: Selection, symbol: str, numbers: Numbers, rows: slice, origin: np.datetime64
) -> Iterator[tuple[str, np.ndarray[Any, np.dtype[np.float32]]]]:
    """What the files of a symbol hold, field by field."""
    spans = selection.spans_of(symbol)
    first, last = spans[0].first, spans[-1].last
    places = (numbers["hour_ts"][rows] - first) // HOUR + 1
    for name in selection.names:
        array = np.full((last - first) // HOUR + 2, np.nan, dtype="<f4")
        array[0] = (first - origin) // HOUR
        array[places] = numbers[name][rows]
        yield name, array


def write_npz(source: Source, selection: Selection, folder: Path) -> None:
    """A dense array (time, feature, symbol), written block of hours by block of hours."""
    hours, symbols = selection.hours, np.array(selection.symbols)
    shape = len(hours), len(selection.columns), len(symbols)
    step = max(1, BLOCK_BYTES // (4 * shape[1] * shape[2]))
    starts = range(0, len(hours), step)
    with (
        zipfile.ZipFile(folder / PANEL, "w") as archive,
        Progress("npz", len(starts), "blocks of hours") as progress,
    ):
        with _member(archive, "data") as member:
            header = {"descr": "<f4", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_2_0(member, header)
            for start in starts:
                block, rows = _block(source, selection, hours[start : start + step], symbols)
                member.write(block.data)
                progress.add_bytes(block.nbytes)
                _finish(progress, rows)
        labels = {
            "datetime": hours.astype("datetime64[ns]"),
            "feature_time": (hours + FEATURE_DELAY).astype("datetime64[ns]"),
            "features": np.array(selection.names),
            "symbols": symbols,
        }
        for name, label in labels.items():
            with _member(archive, name) as member:
                np.lib.format.write_array(member, label, allow_pickle=False)


def _block(
    source: Source,
    selection: Selection,
    hours: np.ndarray[Any, np.dtype[np.datetime64]],
    symbols: np.ndarray[Any, np.dtype[np.str_]],
) -> tuple[np.ndarray[Any, np.dtype[np.float32]], int]:
    """Some hours of the panel, and the number of rows that they have in the table."""
    block = np.full((len(hours), len(selection.columns), len(symbols)), np.nan, dtype="<f4")
    numbers = source.numbers(selection, hours=(hours[0], hours[-1] + HOUR))
    times = (numbers["hour_ts"] - hours[0]) // HOUR
    places = np.searchsorted(symbols, numbers["symbol"].astype(symbols.dtype))
    for number, name in enumerate(selection.names):
        block[times, number, places] = numbers[name]
    return block, len(times)


def _member(archive: zipfile.ZipFile, name: str) -> IO[bytes]:
    """A member of an npz file, of the same bytes whenever it is written."""
    return archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True)


def panel_bytes(selection: Selection) -> int:
    """Size of the array that ``write_npz`` writes."""
    return 4 * len(selection.hours) * len(selection.columns) * len(selection.symbols)


def file_name(symbol: str) -> str:
    """A symbol in the name of a file: itself, unless it has what means something in a path.

    Letters of any script stay, because readers look for the file by the symbol's name.
    """
    if all(c.isalnum() or c == "_" for c in symbol):
        return symbol
    return encode_symbol(symbol).replace(".", "%2E")


def _lower_case(names: list[str], what: str) -> dict[str, str]:
    """Names as Qlib writes them in paths; two that differ only by case would be one."""
    by_lower_case: dict[str, list[str]] = {}
    for name in names:
        by_lower_case.setdefault(name.lower(), []).append(name)
    for same in by_lower_case.values():
        if len(same) > 1:
            raise UsageError(
                f"Qlib cannot tell the {what} {' and '.join(same)} apart, because it writes names "
                "in lower case; leave one of them out"
            )
    return {name: name.lower() for name in names}


def _time(hour: np.datetime64) -> str:
    return str(hour.astype("datetime64[s]")).replace("T", " ")


def _write_lines(path: Path, lines: Iterator[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _progress(label: str, selection: Selection) -> Progress:
    return Progress(label, len(selection.symbols), "symbols", selection.rows)


def _finish(progress: Progress, rows: int) -> None:
    progress.add_rows(rows)
    progress.add_weight(rows)
    progress.finish_one()
