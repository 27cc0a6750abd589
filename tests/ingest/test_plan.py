"""Planning: which files are read, and when nothing is to be done."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

from ingest.lake import PARSER_VERSION, FileRecord, LandingRecord
from ingest.plan import Planner, Upstream
from ingest.sources.vision import RemoteFile

KEY = ("klines_1m", "BTCUSDT")
JANUARY = (date(2024, 1, 1), date(2024, 1, 31))


def remote(period: str, etag: str = "e1", checksum: str | None = "c1") -> RemoteFile:
    return RemoteFile(f"k/{period}.zip", period, etag, "2024-02-01T00:00:00.000Z", 10, checksum)


def held(period: str, outcome="landed", etag: str = "e1") -> FileRecord:
    return FileRecord("u", period, outcome, etag=etag, checksum_etag="c1")


def record(*files: FileRecord, **changes) -> LandingRecord:
    landed = any(f.outcome == "landed" for f in files)
    base = LandingRecord(
        "vision", *KEY, "2024-01", "landed" if landed else "absent_upstream",
        "2024-01-01", "2024-01-31", list(files), parquet_bytes=100 if landed else None,
    )  # fmt: skip
    return replace(base, **changes)


def plan(upstream: Upstream, *records: LandingRecord, days=JANUARY, intact=True, **options):
    state = {r.key: r for r in records}
    return Planner({KEY: upstream}, *days, is_intact=lambda _: intact, **options).plan(state)


def month_and_days(**etags: str) -> Upstream:
    days = {f"2024-01-{d:02d}": remote(f"2024-01-{d:02d}") for d in (1, 2, 3)}
    return Upstream({"2024-01": remote("2024-01", **etags)}, days)


def test_the_monthly_file_comes_first_with_days_to_repair_it():
    (task,) = plan(month_and_days()).tasks
    assert task.monthly
    assert task.monthly.period == "2024-01"
    assert sorted(task.daily) == ["2024-01-01", "2024-01-02", "2024-01-03"]
    assert (task.first_day, task.last_day) == ("2024-01-01", "2024-01-31")


def test_a_landed_month_needs_nothing():
    result = plan(month_and_days(), record(held("2024-01")))
    assert (result.tasks, result.facts, result.up_to_date) == ((), (), 1)


def test_a_replaced_file_is_read_again():
    (task,) = plan(month_and_days(etag="e2"), record(held("2024-01"))).tasks
    assert task.monthly
    assert task.monthly.etag == "e2"


def test_a_repaired_sidecar_revives_a_quarantined_file():
    bad = record(held("2024-01", "quarantined"), parquet_bytes=None, status="quarantined")
    upstream = Upstream({"2024-01": remote("2024-01")})
    still = plan(upstream, bad)
    assert still.tasks == ()
    assert [f.period for f in still.known_bad] == ["2024-01"]
    assert len(plan(Upstream({"2024-01": remote("2024-01", checksum="c2")}), bad).tasks) == 1
    assert len(plan(upstream, bad, retry_quarantined=True).tasks) == 1


def test_a_failed_file_is_tried_again():
    assert (
        len(plan(month_and_days(), record(held("2024-01", "failed"), status="failed")).tasks) == 1
    )


def test_a_new_daily_file_repairs_a_short_month_and_only_then():
    short = record(held("2024-01"), deficient_days=["2024-01-02"])
    (task,) = plan(month_and_days(), short).tasks
    assert task.monthly, "the repair starts from the monthly file again"
    assert list(task.daily) == ["2024-01-02"]
    repaired = record(held("2024-01"), held("2024-01-02"), deficient_days=["2024-01-02"])
    assert plan(month_and_days(), repaired).tasks == ()
    assert plan(month_and_days(), record(held("2024-01"))).tasks == ()


def test_without_a_month_new_days_are_added():
    days = {f"2024-01-{d:02d}": remote(f"2024-01-{d:02d}") for d in (1, 2)}
    have = record(held("2024-01-01"))
    (task,) = plan(Upstream({}, days), have).tasks
    assert task.monthly is None
    assert task.previous is have
    assert plan(Upstream({}, days), record(*(held(d) for d in days))).tasks == ()


def test_days_outside_the_range_are_not_asked_for():
    days = {f"2024-01-{d:02d}": remote(f"2024-01-{d:02d}") for d in range(1, 11)}
    window = (date(2024, 1, 4), date(2024, 1, 6))
    (task,) = plan(Upstream({}, days), days=window).tasks
    assert sorted(task.daily) == ["2024-01-04", "2024-01-05", "2024-01-06"]
    assert (task.first_day, task.last_day) == ("2024-01-04", "2024-01-06")


def test_an_old_parser_or_a_damaged_file_reads_everything_again():
    have = record(held("2024-01"))
    (task,) = plan(month_and_days(), replace(have, parser_version=PARSER_VERSION - 1)).tasks
    assert task.previous is None
    (task,) = plan(month_and_days(), have, intact=False).tasks
    assert task.monthly
    assert task.previous is None


def test_absence_is_recorded_once_and_widened_when_asked_for_more():
    first = plan(Upstream(), days=(date(2024, 1, 1), date(2024, 1, 10)))
    (fact,) = first.facts
    assert (fact.status, fact.first_day, fact.last_day) == (
        "absent_upstream", "2024-01-01", "2024-01-10",
    )  # fmt: skip
    again = plan(Upstream(), fact, days=(date(2024, 1, 1), date(2024, 1, 10)))
    assert again.facts == ()
    (wider,) = plan(Upstream(), fact, days=JANUARY).facts
    assert (wider.first_day, wider.last_day) == ("2024-01-01", "2024-01-31")


def test_files_that_vanish_upstream_change_nothing():
    assert plan(Upstream(), record(held("2024-01"))).tasks == ()
