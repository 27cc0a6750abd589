"""Try again what the log says failed, was quarantined or is damaged, and nothing else."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from urllib.parse import unquote, urlsplit

from ingest.api import SNAPSHOTS, ingest_api
from ingest.api import Options as PullOptions
from ingest.config import Config
from ingest.datasets import MARKET, TARDIS
from ingest.failures import BAD, Failure, failures
from ingest.lake import Key, Lake, LandingRecord
from ingest.names import month_bounds
from ingest.partition import utc_today
from ingest.run import Options, Summary, ingest_archive
from ingest.sources.downloads import Retry
from ingest.sources.tardis import DayFile
from ingest.tardis import ingest_tardis
from ingest.universe import default_symbols


@dataclass
class Retried:
    """What became of what was tried again.

    Args:
        tried: partitions.
        mended: of them, those that nothing is wrong with any more.
        left: what could not be tried, and why.
        problems: what is still wrong.
    """

    tried: int = 0
    mended: int = 0
    left: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    summaries: list[Summary] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """True if nothing is left to try."""
        return not self.problems and not self.left


def to_retry(lake: Lake, chosen: Callable[[str, str], bool]) -> list[Failure]:
    """What is to be tried again of the chosen (dataset, symbol)."""
    return [f for f in failures(lake) if chosen(f.dataset, f.symbol)]


def retry(
    config: Config,
    wanted: Sequence[Failure],
    *,
    workers: int = 2,
    attempts: Retry | None = None,
) -> Retried:
    """Try again; what stood in the lake stays until something better has landed.

    Raises UsageError or PerpError as the ingests do; what a run before the error has landed stays.
    """
    lake, result = Lake(config.lake), Retried()
    options = Options(workers=workers, retry=attempts or Retry(), retry_quarantined=True)
    by_source: dict[str, list[Failure]] = defaultdict(list)
    for failure in wanted:
        by_source[failure.source].append(failure)
    steps = {"vision": _archive, "api": _api, "tardis": _tardis}
    for source, of_source in by_source.items():
        if source in steps:
            steps[source](config, lake, of_source, options, result)
        else:
            again = {f"{f.dataset} {f.symbol} {f.month}: {f.error}; {f.again}" for f in of_source}
            result.left += sorted(again)
    tried = {(f.source, f.key) for f in wanted if f.source in steps}
    still = [f for f in failures(lake) if (f.source, f.key) in tried]
    result.tried = len(tried)
    result.mended = len(tried - {(f.source, f.key) for f in still})
    result.problems = [f.line for f in still]
    return result


def _bounds(record: LandingRecord) -> tuple[date, date]:
    """Days of a partition that have been asked for so far."""
    first, after = month_bounds(record.month)
    asked = record.first_day or f"{first}", record.last_day or f"{after}"
    return date.fromisoformat(asked[0]), min(date.fromisoformat(asked[1]), utc_today())


def _archive(
    config: Config, lake: Lake, wanted: list[Failure], options: Options, result: Retried
) -> None:
    state = lake.state("vision")
    only: dict[Key, tuple[date, date]] = {}
    for failure in wanted:
        spec = state[failure.key].spec
        key = (spec.made_with or spec.name, failure.symbol, failure.month)
        only[key] = _bounds(state.get(key, state[failure.key]))
    _, summary = ingest_archive(
        config,
        list(dict.fromkeys(key[0] for key in only)),
        list(dict.fromkeys(key[1] for key in only)),
        min(first for first, _ in only.values()),
        max(last for _, last in only.values()),
        _with(options, only),
    )
    result.summaries.append(summary)


def _with(options: Options, only: dict[Key, tuple[date, date]]) -> Options:
    return Options(**{**vars(options), "only": only})


def _api(
    config: Config, lake: Lake, wanted: list[Failure], options: Options, result: Retried
) -> None:
    state = lake.state("api")
    only = {failure.key: _bounds(state[failure.key]) for failure in wanted}
    today = utc_today()
    for key in [k for k in only if k[0] in SNAPSHOTS and k[2] != f"{today:%Y-%m}"]:
        result.left.append(f"{' '.join(key)}: a snapshot of the past cannot be asked for")
        del only[key]
    if not only:
        return
    symbols = list(dict.fromkeys(key[1] for key in only if key[1] != MARKET))
    if any(key[0] in SNAPSHOTS for key in only):
        symbols = list(dict.fromkeys([*symbols, *default_symbols()]))
    _, summary = ingest_api(
        config,
        list(dict.fromkeys(key[0] for key in only)),
        None,
        min(first for first, _ in only.values()),
        max(last for _, last in only.values()),
        PullOptions(retry=options.retry, only=only),
        default_symbols=symbols,
    )
    result.summaries.append(summary)


def _tardis(
    config: Config, lake: Lake, wanted: list[Failure], options: Options, result: Retried
) -> None:
    """Files of the vendor's server, and of the folders that files were landed from."""
    state = lake.state("tardis")
    by_folder: dict[Path | None, dict[DayFile, None]] = defaultdict(dict)
    for failure in wanted:
        for day, url in _days(failure, state[failure.key]):
            path = Path(unquote(urlsplit(url).path)) if url.startswith("file:") else None
            if path and not path.exists():
                result.left.append(f"{failure.line}; the file is gone from {path}")
                continue
            file = DayFile(failure.dataset, failure.symbol, day)
            by_folder[path.parent if path else None][file] = None
    for folder, files in by_folder.items():
        summary = ingest_tardis(
            config,
            path=folder,
            datasets=list(TARDIS),
            symbols=None,
            first=min(f.day for f in files),
            last=max(f.day for f in files),
            options=options,
            only=list(files),
        )
        result.summaries.append(summary)


def _days(failure: Failure, record: LandingRecord) -> list[tuple[date, str]]:
    """Days to ask for, and where each was found last: the bad ones, all of a damaged partition."""
    damaged = failure.outcome == "damaged"
    urls = {f.period: f.url for f in record.files if damaged or f.outcome in BAD}
    return [(date.fromisoformat(day), url) for day, url in urls.items()]
