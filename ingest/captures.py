"""Import captures: liquidations that somebody recorded from the stream and flattened to CSV.

Lines are without header: symbol, side, type, time in force, quantity, price, average price, status,
last fill, filled quantity, trade time in ms, value in USDT; later collectors add a column. Most cut
``USDT`` off the symbol.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pyarrow as pa

from ingest.config import Config
from ingest.datasets import IMPORT
from ingest.errors import UsageError
from ingest.events import EventPartitions
from ingest.lake import FileRecord, Lake
from ingest.progress import Progress
from ingest.run import writing
from ingest.sources.force_order import Malformed, Row, number, order_row
from ingest.spans import Span, to_log, union_spans

SOURCE = "import"
DATASET = IMPORT["liquidations"]
MAX_BYTES = 1 << 30  # a year of the whole market is a third of this

_FIELDS = ("s", "S", "o", "f", "q", "p", "ap", "X", "l", "z", "T")
_QUOTES = ("USDT", "USDC", "BUSD")
_WHOLE = ("ETHBTC",)  # the one contract quoted in something else
_CHUNK_ROWS = 50_000
_BAD_LINES_NAMED = 1000  # of one file
_BAD_LINES_LOGGED = 20
_TRADE = re.compile(rb"\d{13}, ?[A-Z0-9]+, ?\d+, ?[\d.]+, ?[\d.]+, ?\d{13}, ?(True|False)(,|$)")


class NotCapture(Exception):
    """A file that holds no liquidations; the text says what it seems to be."""


@dataclass
class ImportSummary:
    """What an import brought.

    Args:
        files: files read; those refused are among the problems.
        unchanged: of them, files whose content was imported before.
        rows_in: good lines.
        new: rows that the lake did not have.
        duplicates: rows that it had, or that a file holds twice.
        conflicts: rows with the key of another but other values; the one imported first stays.
        bad_rows: lines left out.
        bad_lines: what is wrong with them, each named with file and line number.
        problems: files that could not be read, and why.
        covered: spans [from, to) that the files cover, in trade time.
    """

    files: int = 0
    unchanged: int = 0
    rows_in: int = 0
    new: int = 0
    duplicates: int = 0
    conflicts: int = 0
    bad_rows: int = 0
    bad_lines: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    covered: list[tuple[str, str]] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """True if every file could be read."""
        return not self.problems


@dataclass
class _Capture:
    """A file that has been read."""

    record: FileRecord
    rows: pa.Table
    bad_lines: list[str]


def import_captures(
    config: Config,
    paths: Sequence[Path],
    *,
    recorded: Span | None = None,
    max_silence: timedelta = timedelta(minutes=10),
    note: Callable[[str], None] = lambda _: None,
) -> ImportSummary:
    """Land captures; importing a file again changes nothing.

    Args:
        paths: files, and folders whose ``*.csv`` are taken.
        recorded: from when until when the files were recorded, naive UTC. Without it their coverage
            is inferred: from the first to the last event of a file, but for silences of the whole
            market longer than ``max_silence``. That is wrong for a capture that leaves events out
            (only large ones, say): it covers nothing, and should not be imported.
        note: gets a line for every bad line and every problem, as they are found.

    Raises UsageError if there is nothing to import, PerpError if the lake cannot be written.
    """
    started = time.monotonic()
    files = _files(paths)
    summary = ImportSummary()
    spans: list[Span] = []
    lake = Lake(config.lake)
    lake.prepare(None)
    with (
        lake.shared(SOURCE) as claims,
        contextlib.closing(EventPartitions(lake, DATASET, claims)) as partitions,
        Progress("import", len(files), "files", sum(map(_size, files))) as progress,
    ):
        for path in files:
            try:
                capture = _read(path, progress)
            except (NotCapture, OSError) as error:
                problem = error.strerror or str(error) if isinstance(error, OSError) else str(error)
                summary.problems.append(f"{path}: {problem}")
                note(summary.problems[-1])
                progress.finish_one()
                continue
            for line in capture.bad_lines:
                note(f"left out {line}")
            covers = [recorded] if recorded else active_spans(capture.rows, max_silence)
            with writing(lake):
                added = partitions.add(capture.record, capture.rows, covers)
            spans += covers
            progress.finish_one()
            summary.files += 1
            summary.unchanged += not added.rows_in
            summary.rows_in += capture.rows.num_rows
            summary.new += added.new
            summary.duplicates += added.duplicates
            summary.conflicts += added.conflicts
            summary.bad_rows += capture.record.bad_rows
            summary.bad_lines += capture.bad_lines
    summary.covered = to_log(union_spans(spans))
    summary.seconds = time.monotonic() - started
    return summary


def active_spans(rows: pa.Table, max_silence: timedelta) -> list[Span]:
    """Spans between events that are at most ``max_silence`` apart, the last event included."""
    times = sorted(rows["trade_time"].to_pylist())
    spans: list[Span] = []
    for moment in times:
        end = moment + timedelta(milliseconds=1)
        if spans and moment - spans[-1][1] <= max_silence:
            spans[-1] = spans[-1][0], end
        else:
            spans.append((moment, end))
    return spans


def full_symbol(text: str) -> str:
    """The contract behind a symbol whose quote may be cut off: ``BTC`` is ``BTCUSDT``."""
    name, underscore, delivery = text.partition("_")
    has_quote = any(name.endswith(q) and name != q for q in _QUOTES)
    if not name or has_quote or name in _WHOLE:
        return text
    return f"{name}USDT{underscore}{delivery}"


def _files(paths: Sequence[Path]) -> list[Path]:
    files: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            found = sorted(path.rglob("*.csv"))
            if not found:
                raise UsageError(f"{path} holds no .csv files; name a folder of captures, or files")
            files.update(dict.fromkeys(found))
        elif path.exists():
            files[path] = None
        else:
            raise UsageError(f"{path} does not exist; check the path")
    return list(files)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _read(path: Path, progress: Progress) -> _Capture:
    """Read one file. Raises NotCapture or OSError."""
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise NotCapture(f"larger than {MAX_BYTES >> 20} MiB; split it")
    record = FileRecord(path.name, "", "landed", bytes=size, header_present=False, epoch_unit="ms")
    digest = hashlib.sha256()
    bad: list[str] = []
    tables: list[pa.Table] = []
    rows: list[Row] = []
    for line_number, line in _lines(path):
        digest.update(line)
        progress.add_bytes(len(line))
        text = line.removeprefix(b"\xef\xbb\xbf").strip() if line_number == 1 else line.strip()
        if not text:
            continue
        try:
            rows.append(_row(text, path.name))
        except Malformed as error:
            if _TRADE.match(text):
                raise NotCapture(
                    "captured trades (time, symbol, id, price, quantity), not liquidations; "
                    "leave it out"
                ) from None
            record.bad_rows += 1
            if len(bad) < _BAD_LINES_NAMED:
                shown = text[:100].decode("utf-8", "replace")
                bad.append(f"{path} line {line_number}: {error}: {shown!r}")
        if len(rows) == _CHUNK_ROWS:
            tables.append(pa.Table.from_pylist(rows, DATASET.schema))
            rows.clear()
    tables.append(pa.Table.from_pylist(rows, DATASET.schema))
    table = pa.concat_tables(tables)
    if not table.num_rows:
        why = f"{record.bad_rows} lines, the first: {bad[0]}" if bad else "it is empty"
        raise NotCapture(f"holds no liquidation ({why}); leave it out")
    if record.bad_rows > len(bad):
        bad.append(f"{path}: {record.bad_rows - len(bad)} further lines")
    record.sha256_actual = digest.hexdigest()
    record.error = "; ".join(bad[:_BAD_LINES_LOGGED]) or None
    return _Capture(record, table, bad)


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    with path.open("rb") as handle:
        yield from enumerate(handle, 1)


def _row(line: bytes, file: str) -> Row:
    """A line as a row of the lake. Raises Malformed."""
    try:
        fields = [text.strip() for text in line.decode().split(",")]
    except UnicodeDecodeError:
        raise Malformed("not UTF-8") from None
    if len(fields) not in (len(_FIELDS) + 1, len(_FIELDS) + 2):
        raise Malformed(f"{len(fields)} fields instead of {len(_FIELDS) + 1}")
    order = dict(zip(_FIELDS, fields, strict=False))
    row = order_row({**order, "s": full_symbol(order["s"])}, average_known=False)
    value = fields[len(_FIELDS)]
    row["stated_value"] = None if value in ("", "None") else number(value, "value")
    return {**row, "file": file}
