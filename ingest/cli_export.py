"""The ``perp export`` commands, one a format."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from ingest.cli_options import complain, split
from ingest.config import PROJECT_ROOT, Config
from ingest.errors import UsageError
from ingest.export.source import MASKS, Wish
from ingest.names import check_symbol
from ingest.progress import size

DAY = click.DateTime(["%Y-%m-%d"])
OPTIONS = (
    click.option(
        "--to",
        "target",
        type=Path,
        help="Folder of this export alone [default: data/export/FORMAT].",
    ),
    click.option("--columns", help="Comma-separated columns [default: all]."),
    click.option("--families", help="Comma-separated letters: the columns of these families, too."),
    click.option("--symbols", help="Comma-separated contracts [default: all]."),
    click.option("--start", type=DAY, help="First day, YYYY-MM-DD, UTC [default: the beginning]."),
    click.option("--end", type=DAY, help="Last day, YYYY-MM-DD, UTC [default: the end]."),
    click.option(
        "--mask",
        type=click.Choice([*MASKS, "none"]),
        default="none",
        show_default=True,
        help="Keep only the hours in which this column is 1.",
    ),
    click.option(
        "--warehouse",
        type=Path,
        help="DuckDB file to read [default: the published one, else PERP_WAREHOUSE].",
    ),
    click.option("--json", "as_json", is_flag=True, help="Print the manifest."),
)


@click.group("export")
def export_group() -> None:
    """Write the wide table for other tools; docs/exports.md tells each layout.

    Every export takes the place of the one before when it is whole, and says in export.json where
    it comes from and what its columns mean. It holds features, never labels. The time of a row is
    the start of its hour; the row may be used from one millisecond after the hour's end.
    """


def _command(form: str, text: str) -> None:
    """Add the command of a format."""

    def command(**arguments: Any) -> int:  # noqa: ANN401 (whatever click hands over)
        return _export(form, **arguments)

    decorated: Callable[..., int] = command
    for option in reversed(OPTIONS):
        decorated = option(decorated)
    export_group.command(form, help=text, short_help=text.split(".")[0] + ".")(decorated)


_command(
    "parquet",
    "One file of all: final_dataset_all.parquet. It is sorted by symbol and datetime, with "
    "bar_end_time, feature_time and the columns as they are in the table.",
)
_command(
    "csv",
    "A file a symbol, as the crypto forks of AlphaGen and AlphaQCM read it. 1h/SYMBOL_1h.csv, or "
    "with --mask 1h/SYMBOL_train.csv: datetime and numbers; NULL is an empty cell. Columns of text "
    "are left out, because those readers take every column for a feature.",
)
_command(
    "qlib",
    "Binary files of Qlib, frequency 60min. Fields are open, high, low, close, volume, vwap and "
    "the chosen columns, in lower case. Values are float32, which has about 7 digits: counts above "
    "16,777,216 are rounded. NaN stands for NULL and for hours outside the listing. Text is left "
    "out.",
)
_command(
    "npz",
    "One dense array (time, feature, symbol): panel.npz. Values are float32, which has about 7 "
    "digits: counts above 16,777,216 are rounded. NaN stands for NULL and for hours that the table "
    "does not have. Text is left out. Writing takes little memory; numpy.load takes that of the "
    "whole array.",
)


def _export(
    form: str,
    target: Path | None,
    columns: str | None,
    families: str | None,
    symbols: str | None,
    start: datetime | None,
    end: datetime | None,
    mask: str,
    warehouse: Path | None,
    as_json: bool,
) -> int:
    from ingest.export.run import export  # its libraries take long to import

    if start and end and start > end:
        raise UsageError(f"--end {end:%Y-%m-%d} is before --start {start:%Y-%m-%d}; swap them")
    names = split(symbols)
    wish = Wish(
        columns=split(columns),
        families=split(families),
        symbols=None if names is None else [check_symbol(name) for name in names],
        start=start.date() if start else None,
        end=end.date() if end else None,
        mask=None if mask == "none" else mask,
    )
    file = Config.from_env().file_to_read(warehouse)
    folder = target or _default_folder(form)
    started = time.monotonic()
    complain(f"reading {file}")
    try:
        manifest = export(form, file, wish, folder)
    except KeyboardInterrupt:
        complain(f"the export is not written; {folder} is as it was")
        raise
    if as_json:
        print(json.dumps(manifest, ensure_ascii=False))
        return 0
    if manifest["left_out"]:
        print(f"left out, because they are text: {', '.join(manifest['left_out'])}")
    print(
        f"{form}: {manifest['rows']:,} rows of {len(manifest['listed'])} symbols, "
        f"{len(manifest['columns'])} columns, {manifest['first_hour']} to {manifest['last_hour']}, "
        f"{size(manifest['bytes'])} in {time.monotonic() - started:.1f} s -> {folder}"
    )
    return 0


def _default_folder(form: str) -> Path:
    path = PROJECT_ROOT / "data" / "export" / form
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
