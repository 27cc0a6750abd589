"""What failed, was quarantined or is damaged, by the landing log, and how to try it again."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from ingest.datasets import SOURCES
from ingest.lake import FileRecord, Key, Lake, LandingRecord

BAD = ("failed", "quarantined")  # outcomes of files that are to be tried again
_RETRIED = ("vision", "api", "tardis")  # sources that `perp retry` can ask again
_KEPT = re.compile(r"; (?:kept as|it is) (.+)$")


@dataclass(frozen=True)
class Failure:
    """One file, or several with the same error, or one partition, that is not as it should be.

    Args:
        period: month or day of the file; the month for several, and for a whole partition.
        outcome: ``failed``, ``quarantined``, or ``damaged`` for a partition that is not the one
            that the log describes.
        error: what was wrong.
        kept: where a quarantined file is.
        tried_at: when it was tried last, UTC.
        has_data: whether the partition holds data all the same, of other files or earlier ones.
        again: the command that tries it again.
    """

    source: str
    dataset: str
    symbol: str
    month: str
    period: str
    outcome: str
    error: str
    url: str
    kept: str | None
    attempts: int
    tried_at: str
    has_data: bool
    again: str

    @property
    def key(self) -> Key:
        """(dataset, symbol, month)."""
        return self.dataset, self.symbol, self.month

    @property
    def line(self) -> str:
        """The failure as one line of text."""
        return f"{self.outcome}: {self.dataset} {self.symbol} {self.period}: {self.error}"


def failures(lake: Lake, *, look_at_files: bool = True) -> Iterator[Failure]:
    """Everything on record that is to be tried again, by source, symbol, month and dataset.

    Args:
        look_at_files: look also whether every partition has the size and footer on record.
    """
    for source in SOURCES:
        records = lake.state(source).values()
        for record in sorted(records, key=lambda r: (r.symbol, r.month, r.dataset)):
            yield from _of_record(record)
            if look_at_files and record.parquet_bytes is not None and not lake.is_intact(record):
                yield _failure(
                    record,
                    "damaged",
                    f"{lake.partition_of(record)} is not the file that the log describes",
                )


def _of_record(record: LandingRecord) -> Iterator[Failure]:
    bad: dict[str, list[FileRecord]] = defaultdict(list)
    for file in record.files:
        if file.outcome in BAD:
            bad[file.error or "no reason on record"].append(file)
    if record.spec.made_with and record.status == "landed":
        return  # its files are listed by the dataset that it is made with
    for error, files in bad.items():
        kept = _KEPT.search(error)
        yield _failure(
            record,
            files[0].outcome,
            error,
            period=files[0].period if len(files) == 1 else record.month,
            url=files[0].url,
            kept=kept[1] if kept else None,
            attempts=max(f.attempts for f in files),
        )
    if not bad and record.status in BAD:
        yield _failure(record, record.status, record.error or "no reason on record")


def _failure(
    record: LandingRecord,
    outcome: str,
    error: str,
    *,
    period: str = "",
    url: str = "",
    kept: str | None = None,
    attempts: int = 0,
) -> Failure:
    return Failure(
        record.source,
        *record.key,
        period or record.month,
        outcome,
        error,
        url,
        kept,
        attempts,
        record.landed_at,
        record.parquet_bytes is not None and outcome != "damaged",
        _again(record),
    )


def _again(record: LandingRecord) -> str:
    if record.source in _RETRIED:
        dataset = record.spec.made_with or record.dataset
        return f"perp retry --datasets {dataset} --symbols {record.symbol}"
    if record.source == "import":
        return "perp ingest liquidations --import PATH, with the captures of that month"
    return "perp ingest liquidations; what nobody else recorded stays a gap"
