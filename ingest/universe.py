"""The default universe: a dbt seed that ingest and SQL share, and what could change in it.

Whoever is listed at a time belongs to that time, so a contract that is delisted stays, and
contracts that are gone are proposed like those that trade.
"""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Literal

from ingest.config import PROJECT_ROOT, Config
from ingest.datasets import VISION
from ingest.errors import PerpError, UsageError
from ingest.names import base_contract, pair
from ingest.progress import Progress
from ingest.run import each, known_symbols
from ingest.sources.downloads import Failed, NotFound, Retry
from ingest.sources.vision import VisionArchive
from ingest.store import temporary, write_atomic

SEEDS = PROJECT_ROOT / "dbt_project" / "seeds"
SEED = SEEDS / "universe.csv"
LINEAGE = SEEDS / "symbol_lineage.csv"

Kind = Literal["add", "exclude", "delisted", "missing", "review"]


@dataclass(frozen=True)
class Entry:
    """A line of the seed."""

    symbol: str
    in_universe: bool
    reason: str

    def line(self) -> str:
        """The line as CSV, with its end."""
        text = io.StringIO()
        row = (self.symbol, "true" if self.in_universe else "false", self.reason)
        csv.writer(text, lineterminator="\n").writerow(row)
        return text.getvalue()


@dataclass(frozen=True)
class Listed:
    """A contract as the exchange describes it; days are UTC.

    Args:
        settled: when it was settled, None while it is not.
    """

    symbol: str
    contract_type: str
    underlying_type: str | None
    quote_asset: str
    onboard: date | None
    settled: date | None

    @property
    def is_candidate(self) -> bool:
        """A perpetual on a coin, quoted in USDT: what the warehouse is about."""
        kind = (self.contract_type, self.underlying_type or "COIN", self.quote_asset)
        return kind == ("PERPETUAL", "COIN", "USDT")


@dataclass(frozen=True)
class History:
    """What the archive has of a contract.

    Args:
        months: monthly files of minute bars, ascending.
        last_bars: newest period of any file of minute bars, a month or a day.
        has_ticks: there are monthly aggTrades.
        has_metrics: there are metrics.
    """

    months: tuple[str, ...]
    last_bars: str | None
    has_ticks: bool
    has_metrics: bool

    @property
    def lacks(self) -> str:
        """What keeps the contract out, in words; empty if nothing does."""
        if not self.has_metrics:
            return "metrics archive absent"
        return "" if self.has_ticks else "no monthly aggTrades"


@dataclass(frozen=True)
class Proposal:
    """A change to the seed, or something to look at.

    Args:
        entry: the new or changed line; None where the seed stays as it is.
    """

    kind: Kind
    symbol: str
    why: str
    entry: Entry | None = None


def read_universe(path: Path = SEED) -> list[Entry]:
    """Lines of the seed in their order; raises UsageError for a file that is not one."""
    try:
        with path.open(newline="", encoding="utf-8") as handle:
            rows = list(csv.DictReader(handle))
            return [
                Entry(row["symbol"], {"true": True, "false": False}[row["in_universe"]],
                      row["reason"] or "")
                for row in rows
            ]  # fmt: skip
    except (OSError, KeyError) as error:
        raise UsageError(
            f"{path} is not a universe: {error}; it needs the columns symbol, in_universe (true "
            "or false) and reason"
        ) from error


def default_symbols() -> list[str]:
    """Symbols of the seed that are in the universe, in its order."""
    return [entry.symbol for entry in read_universe() if entry.in_universe]


def read_lineage(path: Path = LINEAGE) -> dict[str, str]:
    """Successor -> predecessor, by the seed ``symbol_lineage``."""
    with path.open(newline="", encoding="utf-8") as handle:
        return {row["successor"]: row["predecessor"] for row in csv.DictReader(handle)}


# -------------------------------------------------------------------------------------- the rules
def propose(
    entries: Sequence[Entry],
    listed: Mapping[str, Listed] | None,
    archived: set[str],
    histories: Mapping[str, History],
    predecessors: Mapping[str, str],
    *,
    min_months: int,
    today: date,
) -> list[Proposal]:
    """Changes to the seed, those of its own lines first; nothing is ever taken out.

    Args:
        listed: contracts of the exchange's info; None if it could not be asked.
        archived: names that the archive has bars of.
        histories: of the names that :func:`questions` asks for.
        predecessors: by successor.
        min_months: how many monthly files make a history.
    """
    of_seed = [
        proposal
        for entry in entries
        if (proposal := _of_entry(entry, listed, archived, histories.get(entry.symbol)))
    ]
    if listed is None:
        return of_seed
    known = {entry.symbol for entry in entries}
    new = [
        _of_stranger(symbol, listed.get(symbol), history, predecessors.get(symbol), today)
        for symbol, history in sorted(histories.items())
        if symbol not in known and len(history.months) >= min_months
    ]
    return of_seed + sorted(new, key=lambda p: (p.kind == "review", p.symbol))


def questions(
    entries: Sequence[Entry], listed: Mapping[str, Listed] | None, archived: set[str]
) -> list[str]:
    """Names whose history :func:`propose` needs."""
    known = {entry.symbol for entry in entries}
    asked = {e.symbol for e in entries if not e.in_universe or _has_ended(e, listed)}
    if listed is not None:
        asked |= {s for s in archived - known if s not in listed and _could_be_perpetual(s)}
        asked |= {s for s, c in listed.items() if s not in known and c.is_candidate}
    return sorted(asked & archived)


def _could_be_perpetual(symbol: str) -> bool:
    """By its name: neither a delivery contract nor an earlier life of another name."""
    return symbol.endswith("USDT") and symbol == base_contract(symbol) == pair(symbol)


def _has_ended(entry: Entry, listed: Mapping[str, Listed] | None) -> bool:
    if listed is None:
        return False
    contract = listed.get(entry.symbol)
    return contract is None or contract.settled is not None


def _of_entry(
    entry: Entry,
    listed: Mapping[str, Listed] | None,
    archived: set[str],
    history: History | None,
) -> Proposal | None:
    symbol = entry.symbol
    if not entry.in_universe:
        if history and history.months and not history.lacks:
            had = f"left out ({entry.reason}), but the archive has {_span(history)}"
            return Proposal("review", symbol, f"{had}, aggTrades and metrics now")
        return None
    if symbol not in archived:
        older = sorted(s for s in archived if s != symbol and base_contract(s) == symbol)
        hint = f"it has {', '.join(older)}" if older else "check its spelling"
        return Proposal("missing", symbol, f"the archive has no bars of it; {hint}; it stays")
    if entry.reason or not _has_ended(entry, listed):
        return None
    contract = (listed or {}).get(symbol)
    if contract and contract.settled:
        reason = f"delisted {contract.settled}"
    else:
        last = history.last_bars if history else None
        reason = "no longer listed" + (f"; bars end {last}" if last else "")
    return Proposal("delisted", symbol, f"{reason}; it stays", replace(entry, reason=reason))


def _of_stranger(
    symbol: str, contract: Listed | None, history: History, before: str | None, today: date
) -> Proposal:
    if contract is None:
        why = f"the exchange no longer lists it, the archive has {_span(history)}"
        return Proposal("review", symbol, f"{why}; add it by hand if it was a perpetual on a coin")
    facts = [f"successor of {before}"] if before else []
    facts.append(f"listed {contract.onboard}" if contract.onboard else "perpetual")
    if contract.settled:
        facts.append(f"delisted {contract.settled}")
    if history.lacks:
        entry = Entry(symbol, False, history.lacks)
        return Proposal("exclude", symbol, f"{'; '.join(facts)}; {history.lacks}", entry)
    facts.append(f"archived {_span(history)}")
    entry = Entry(symbol, True, f"added {today}: {'; '.join(facts)}")
    return Proposal("add", symbol, "; ".join(facts), entry)


def _span(history: History) -> str:
    months = history.months
    return f"{months[0]} to {months[-1]} ({len(months)} months)" if months else "no months"


# --------------------------------------------------------------------------------------- the file
def with_proposals(text: str, proposals: Iterable[Proposal]) -> str:
    """The seed's text with the proposed lines; all others stay as they are, in their order."""
    changed = {p.symbol: p.entry for p in proposals if p.entry}
    lines = []
    for line in text.splitlines(keepends=True):
        entry = changed.pop(next(csv.reader([line]))[0], None)
        lines.append(entry.line() if entry else line)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    return "".join([*lines, *(entry.line() for entry in changed.values())])


def replace_file(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    try:
        write_atomic(path, text.encode())
    except OSError as error:
        temporary(path).unlink(missing_ok=True)
        raise PerpError(f"cannot write {path}: {error}; it is as it was") from error


# ---------------------------------------------------------------------------------- the upstreams
@dataclass(frozen=True)
class Refresh:
    """What a look at the archive and the exchange has brought.

    Args:
        no_exchange: why the exchange could not be asked; None if it was.
    """

    proposals: list[Proposal]
    n_archived: int
    n_listed: int
    no_exchange: str | None


def refresh(
    config: Config,
    entries: Sequence[Entry],
    *,
    min_months: int,
    today: date,
    retry: Retry | None = None,
) -> Refresh:
    """Compare the seed with the archive's listing and the exchange's info.

    Without the exchange (it does not answer from every country) only the seed's own lines are
    looked at. Raises PerpError if the archive cannot be listed.
    """
    return asyncio.run(_refresh(config, entries, min_months, today, retry or Retry()))


async def _refresh(
    config: Config, entries: Sequence[Entry], min_months: int, today: date, retry: Retry
) -> Refresh:
    from ingest.sources.binance_api import Refused  # ccxt takes a second to import

    listed: dict[str, Listed] | None = None
    problem = None
    try:
        listed = await _listed(config, retry)
    except (Failed, Refused) as error:
        problem = str(error)
    async with VisionArchive(config.archive_url, config.listing_url, retry=retry) as archive:
        try:
            archived = await known_symbols(archive)
            names = questions(entries, listed, archived)
            histories = await _histories(archive, names, min_months)
        except (Failed, NotFound) as error:
            raise PerpError(
                f"cannot list {config.listing_url}: {error or 'not found'}; check the connection "
                "and PERP_ARCHIVE_LISTING_URL, then run this command again"
            ) from error
    proposals = propose(
        entries, listed, archived, histories, read_lineage(), min_months=min_months, today=today
    )
    return Refresh(proposals, len(archived), len(listed or {}), problem)


async def _listed(config: Config, retry: Retry) -> dict[str, Listed]:
    from ingest.sources.binance_api import BinanceApi, exchange_info_table

    async with BinanceApi(config.api_url, connections=1, retry=retry) as api:
        now = await api.server_time()
        info = await api.get("fapiPublicGetExchangeInfo", {}, expect=dict)
    return {
        row["contract"]: Listed(
            row["contract"],
            row["contract_type"],
            row["underlying_type"],
            row["quote_asset"],
            row["onboard_date"] and row["onboard_date"].date(),
            row["delivery_date"].date()
            if row["delivery_date"] and row["delivery_date"] <= now
            else None,
        )
        for row in exchange_info_table(info, now).to_pylist()
    }


async def _histories(
    archive: VisionArchive, names: Sequence[str], min_months: int
) -> dict[str, History]:
    found: dict[str, History] = {}
    with Progress("list", len(names), "contracts") as progress:

        async def one(symbol: str) -> None:
            found[symbol] = await _history(archive, symbol, min_months)
            progress.finish_one()

        await each(names, one, archive.connections)
    return found


async def _history(archive: VisionArchive, symbol: str, min_months: int) -> History:
    months = await _periods(archive, "klines_1m", "monthly", symbol)
    days = await _periods(archive, "klines_1m", "daily", symbol, after=months[-1] if months else "")
    if len(months) < min_months:  # whatever else there is, it is not proposed
        return History(tuple(months), max([*months, *days], default=None), False, False)
    ticks = await _periods(archive, "agg_trades_1m", "monthly", symbol)
    metrics = await _periods(archive, "metrics", "daily", symbol)
    last = max([*months, *days], default=None)
    return History(tuple(months), last, bool(ticks), bool(metrics))


async def _periods(
    archive: VisionArchive,
    dataset: str,
    cadence: Literal["monthly", "daily"],
    symbol: str,
    *,
    after: str = "",
) -> list[str]:
    spec = VISION[dataset]
    prefix = spec.prefixes(cadence, symbol)[0]
    name_start = spec.file_name(symbol, "").removesuffix(".zip")
    return [file.period for file in await archive.files(prefix, name_start, after)]
