"""Remove what a lake does not need any more, and nothing that it could still use.

The landing log is never shortened: its old records are the provenance of what was built from
earlier editions, and the models count them to know what has landed anew.
"""

from __future__ import annotations

import contextlib
import fcntl
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePath
from urllib.parse import unquote, urlsplit

from ingest import runlog
from ingest.datasets import SOURCES
from ingest.lake import Key, Lake, LandingRecord
from ingest.names import days, decode_symbol
from ingest.sources.tardis import day_file
from ingest.spans import from_log, without
from ingest.store import store_of
from ingest.verify import dead_temporaries, partition_key

_SCRATCH = re.compile(r"sort-\d+$")
_PARTITIONS = "partitions"  # folder of quarantine that holds partitions set aside by verify


@dataclass(frozen=True)
class Removable:
    """A file, or a folder with all that is in it, that nobody needs.

    Args:
        why: the kind of thing it is.
        source: the source that it is of; nobody must work on that while it is removed.
    """

    why: str
    path: PurePath
    bytes: int
    source: str | None = None


def removable(lake: Lake, *, keep_runs: int = 200, raw: bool = False) -> Iterator[Removable]:
    """What can go.

    Args:
        keep_runs: run logs to keep, the newest.
        raw: count the downloads kept with ``--keep-raw`` among what is not needed.
    """
    for path in dead_temporaries(lake):
        yield _file("temporary files of processes that are gone", path)
    for source in SOURCES:
        records = lake.state(source)
        yield from _downloads(lake, source, records)
        yield from _quarantined(lake, source, records)
        yield from _set_aside(lake, source, records)
    if raw:
        yield from _stored("downloads kept with --keep-raw", lake.store.sizes(lake.raw))
    yield from _run_logs(lake, keep_runs)


def remove(lake: Lake, items: Iterable[Removable]) -> Iterator[tuple[Removable, bool]]:
    """Remove things, and say of each whether it is gone; those that are being worked on stay."""
    by_source: dict[str | None, list[Removable]] = {}
    for item in items:
        by_source.setdefault(item.source, []).append(item)
    for source, of_source in by_source.items():
        with _nobody_works(lake, source) as alone:
            for item in of_source:
                if alone:
                    store_of(item.path).delete(item.path)
                yield item, alone


@contextlib.contextmanager
def _nobody_works(lake: Lake, source: str | None) -> Iterator[bool]:
    """Keep other processes from beginning to work on a source; False if one works on it now."""
    if source is None:
        yield True
        return
    lake.locks.mkdir(parents=True, exist_ok=True)
    with (lake.locks / f"{source}.lock").open("a+") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def _file(why: str, path: Path, source: str | None = None) -> Removable:
    size = 0
    with contextlib.suppress(OSError):
        within = [p for p in path.rglob("*") if p.is_file()] if path.is_dir() else [path]
        size = sum(p.stat().st_size for p in within)
    return Removable(why, path, size, source)


def _stored(why: str, sizes: Mapping[PurePath, int]) -> Iterator[Removable]:
    for path, size in sorted(sizes.items()):
        yield Removable(why, path, size)


def _downloads(
    lake: Lake, source: str, records: Mapping[Key, LandingRecord]
) -> Iterator[Removable]:
    """Downloads and decoded files of partitions that have landed since; others are resumed."""
    for folder in sorted((lake.tmp / source).glob("*/*/*")):
        dataset, symbol, month = folder.parts[-3:]
        record = records.get((dataset, decode_symbol(symbol), month))
        if not folder.is_dir() or record is None or record.status != "landed":
            continue
        for path in sorted(folder.iterdir()):
            if _SCRATCH.search(path.name) or _older(path, record):
                yield _file("downloads of partitions that have landed", path, source)


def _older(path: Path, record: LandingRecord) -> bool:
    with contextlib.suppress(OSError):
        modified = datetime.fromtimestamp(path.stat().st_mtime, UTC).replace(tzinfo=None)
        return modified < datetime.fromisoformat(record.landed_at)
    return False


# --------------------------------------------------------------------------------- quarantine
def _quarantined(
    lake: Lake, source: str, records: Mapping[Key, LandingRecord]
) -> Iterator[Removable]:
    """Quarantined files of which a good edition has landed since."""
    why = "quarantined files that have landed since"
    if source == "vision" and (sizes := lake.store.sizes(lake.quarantine / "data")):
        keys = {lake.quarantine / "data" / key for key in _good_keys(records)}
        yield from _stored(why, {path: size for path, size in sizes.items() if path in keys})
    if source == "tardis":
        sizes = lake.store.sizes(lake.quarantine / source, "*.csv.gz")
        landed = {path: size for path, size in sizes.items() if _day_has_landed(path, records)}
        yield from _stored(why, landed)


def _good_keys(records: Mapping[Key, LandingRecord]) -> Iterator[str]:
    """Keys of the archive's files of which every edition on record has landed."""
    for record in records.values():
        bad = {f.url for f in record.files if f.outcome != "landed"}
        for url in {f.url for f in record.files} - bad:
            if key := unquote(urlsplit(url).path).partition("/data/")[2]:
                yield key


def _day_has_landed(path: PurePath, records: Mapping[Key, LandingRecord]) -> bool:
    if not (day := day_file(path)):
        return False
    held = records.get((day.dataset, day.symbol, f"{day.day:%Y-%m}"))
    files = [f for f in held.files if f.period == f"{day.day}"] if held else []
    return bool(files) and all(f.outcome == "landed" for f in files)


def _set_aside(
    lake: Lake, source: str, records: Mapping[Key, LandingRecord]
) -> Iterator[Removable]:
    """Partitions that ``perp verify --repair`` has moved away and that have landed whole since."""
    sizes = lake.store.sizes(lake.quarantine / _PARTITIONS / source, "*/*/*/*.parquet")
    before = {r.log_seq: r for r in lake.history(source)} if sizes else {}
    for path, size in sorted(sizes.items()):
        record = records.get(partition_key(path))
        if record is None or record.status != "landed" or not lake.is_intact(record):
            continue
        then = before.get(path.stem.partition("-")[0])
        if then is None or _holds_all(record, then):
            yield Removable("partitions set aside that have landed since", path, size)


def _holds_all(record: LandingRecord, then: LandingRecord) -> bool:
    """Whether a partition holds what it held before, as far as the log can tell."""
    lost = without(from_log(then.covered), from_log(record.covered))
    return _days(then) <= _days(record) and not lost and then.rows_out <= record.rows_out


def _days(record: LandingRecord) -> set[str]:
    """Days that the landed files of a partition are of."""
    landed = (f.period for f in record.files if f.outcome == "landed" and f.period)
    return {day for period in landed for day in days(period)}


def _run_logs(lake: Lake, keep: int) -> Iterator[Removable]:
    folder = runlog.folder_of(lake.root)
    for path in sorted(folder.glob("*.jsonl"), reverse=True)[keep:]:
        if not runlog.is_running(path):
            yield _file("old run logs", path)
    for path in sorted(folder.glob("*.now*")):
        if not runlog.is_running(path.with_name(path.name.partition(".now")[0] + ".jsonl")):
            yield _file("old run logs", path)
