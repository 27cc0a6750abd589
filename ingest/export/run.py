"""Export a part of the wide table: check what is asked for, write, and put it in its place."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from ingest.dictionary import Entry, dictionary
from ingest.errors import UsageError
from ingest.export import formats
from ingest.export.folder import replacing, write_manifest
from ingest.export.source import TABLE, Selection, Source, Wish, open_source
from ingest.progress import size

FLOAT32 = "float32: about 7 decimal digits; whole numbers above 16,777,216 are rounded"
DOUBLE = "as in the table: double, and every digit of it"


@dataclass(frozen=True)
class Format:
    """A layout of files."""

    write: Callable[[Source, Selection, Path], None]
    numbers_only: bool
    precision: str
    fields: tuple[str, ...] = ()  # columns that it holds in any case


FORMATS = {
    "parquet": Format(formats.write_parquet, False, DOUBLE),
    "csv": Format(formats.write_csv, True, DOUBLE),
    "qlib": Format(formats.write_qlib, True, FLOAT32, formats.QLIB_FIELDS),
    "npz": Format(formats.write_npz, True, FLOAT32),
}


def export(form: str, warehouse: Path, wish: Wish, target: Path) -> dict[str, Any]:
    """Write an export and return its manifest.

    Args:
        form: a name in ``FORMATS``.
        warehouse: DuckDB file to read.
        wish: columns, symbols, days and mask.
        target: folder; an earlier export of the same format there is replaced when all is written.

    Raises UsageError for a wish that cannot be granted, PerpError if reading or writing fails.
    """
    layout = FORMATS[form]
    with open_source(warehouse) as source:
        selection = source.select(wish, numbers_only=layout.numbers_only, first=layout.fields)
        with replacing(target, form) as folder:
            if form == "npz":
                _check_space(selection, folder)
            layout.write(source, selection, folder)
            return write_manifest(folder, _facts(form, source, selection))


def _check_space(selection: Selection, folder: Path) -> None:
    needed, free = formats.panel_bytes(selection), shutil.disk_usage(folder).free
    if needed > free:
        raise UsageError(
            f"the panel takes {size(needed)} and {folder.parent} has {size(free)} free; choose "
            "fewer --columns, --symbols or days"
        )


def _facts(form: str, source: Source, selection: Selection) -> dict[str, Any]:
    """What the manifest says of an export, but for its files."""
    version = source.path.parent.name if source.path.parent.parent.name == "versions" else None
    written = datetime.fromtimestamp(source.path.stat().st_mtime, UTC)
    return {
        "format": form,
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "source": {
            "file": str(source.path),
            "written_at": written.isoformat(timespec="seconds"),
            "published_version": version,
            "table": TABLE,
        },
        "precision": FORMATS[form].precision,
        "mask": selection.wish.mask,
        "first_hour": _text(min(s.first for s in selection.spans)),
        "last_hour": _text(max(s.last for s in selection.spans)),
        "rows": selection.rows,
        "listed": {
            symbol: [[_text(s.first), _text(s.last)] for s in selection.spans_of(symbol)]
            for symbol in selection.symbols
        },
        "left_out": selection.left_out,
        "columns": [_column(c.name, c.data_type) for c in selection.columns],
    }


def _column(name: str, data_type: str) -> dict[str, str | None]:
    entry = dictionary().get(name, Entry())
    facts = {"name": name, "type": data_type.lower(), "family": entry.family, "unit": entry.unit}
    return facts | {"meaning": entry.meaning}


def _text(hour: np.datetime64) -> str:
    return str(hour.astype("datetime64[s]"))
