"""Names and calendar shared by the benchmark's implementations of families D and E."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from ingest.config import PROJECT_ROOT
from tests.reference.momentum import D_COLUMNS
from tests.reference.volatility import E_COLUMNS

MIN_MINUTES = 45
MIN_PAIRS = 40

COLUMNS = ("symbol", "hour_ts", *D_COLUMNS, *E_COLUMNS)

NYSE_HOLIDAYS = {
    date.fromisoformat(line)
    for line in (PROJECT_ROOT / "dbt_project/seeds/us_market_holidays.csv").read_text().split()[1:]
}


def us_open_windows(first: date, last: date) -> list[tuple[datetime, datetime]]:
    """First and last minute (naive UTC) of each first hour of New York trading."""
    new_york = ZoneInfo("America/New_York")
    windows = []
    for offset in range((last - first).days + 1):
        day = first + timedelta(days=offset)
        if day.weekday() >= 5 or day in NYSE_HOLIDAYS:
            continue
        start = datetime.combine(day, time(9, 30), new_york).astimezone(UTC)
        start = start.replace(tzinfo=None)
        windows.append((start, start + timedelta(minutes=59)))
    return windows
