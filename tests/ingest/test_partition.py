"""From decoded files to partitions: joining a month, choosing the file of a day, resuming."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ingest.datasets import VISION
from ingest.lake import FileRecord, Lake, LandingRecord
from ingest.partition import assemble, damaged_days, decode_file, decoded_before, short_days
from tests.ingest.test_decode import bar, zipped

DAY_MS = 86_400_000
JANUARY = 1_704_067_200_000
TICK_LAYERS = ("agg_trade_sizes_1h",)
WITH_TAPE = (*TICK_LAYERS, "agg_trades")


def day_csv(day: int, minutes: range, **options: float) -> str:
    return "\n".join(bar((day - 1) * 1440 + m, **options) for m in minutes)


def decode_into(
    folder: Path, csv: str, period: str, dataset: str = "klines_1m", also: Collection[str] = ()
) -> FileRecord:
    folder.mkdir(exist_ok=True, parents=True)
    record = FileRecord("u", period, "failed", etag="e", checksum_etag="c")
    result = decode_file(zipped(folder, csv), folder, dataset, "BTCUSDT", record, also)
    assert result.record.outcome == "landed", result.record.error
    return result.record


def land(
    lake: Lake,
    folder: Path,
    *,
    month: bool = False,
    fresh: Collection[str] = (),
    keep: Collection[str] = (),
    files: Collection[FileRecord] = (),
    dataset: str = "klines_1m",
    also: Collection[str] = (),
) -> LandingRecord:
    record = LandingRecord("vision", dataset, "BTCUSDT", "2024-01", "landed", files=list(files))
    records = assemble(lake, record, folder, month, fresh, keep, also)
    assert [r.dataset for r in records] == [*also, dataset]
    assert all(lake.is_intact(r) for r in records)
    return records[-1]


# ------------------------------------------------------------------------------------------ bars
def test_daily_rows_fill_what_the_month_lacks(tmp_path):
    decode_into(tmp_path, day_csv(1, range(1440)) + "\n" + day_csv(2, range(700)), "2024-01")
    decode_into(tmp_path, day_csv(2, range(1440), close=10.5), "2024-01-02")
    record = land(Lake(tmp_path / "lake"), tmp_path, month=True, fresh={"2024-01-02"})
    assert (record.rows_out, record.overlap_dropped, record.overlap_conflicts) == (2880, 700, 700)
    assert record.gaps == 0


def test_adding_a_day_equals_landing_all_days(tmp_path):
    """A month that grows day by day is, byte for byte, the month landed at once."""
    days = [f"2024-01-{d:02d}" for d in (1, 2, 3)]
    for d, day in enumerate(days, start=1):
        decode_into(tmp_path, day_csv(d, range(1440)), day)
    whole = land(Lake(tmp_path / "whole"), tmp_path, fresh=days)
    lake = Lake(tmp_path / "grown")
    land(lake, tmp_path, fresh=days[:1])
    land(lake, tmp_path, fresh=days[2:], keep=days[:1])
    grown = land(lake, tmp_path, fresh=days[1:2], keep=[days[0], days[2]])
    assert grown.parquet_sha256 == whole.parquet_sha256
    assert grown.gaps == 0


def test_gaps_count_missing_slots(tmp_path):
    decode_into(tmp_path, day_csv(1, range(10)) + "\n" + day_csv(1, range(15, 20)), "2024-01")
    assert land(Lake(tmp_path / "lake"), tmp_path, month=True).gaps == 5


def test_short_days_stop_at_today():
    whole = {"2024-02-01": 1440}
    days = short_days(whole, VISION["klines_1m"], "2024-02", date(2024, 2, 4))
    assert days == ["2024-02-02", "2024-02-03"]
    assert short_days({}, VISION["funding_rate"], "2024-02", date(2024, 3, 1)) == []


# ----------------------------------------------------------------------------------------- ticks
def ticks(
    day: int, n: int = 500, first_id: int | None = None, skip: Collection[int] = (), bad: int = 0
) -> list[str]:
    """Lines of a day: ids from ``day * 1000``, one every 2 minutes or so, ``bad`` without size."""
    rng = np.random.default_rng(day)
    start = day * 1000 if first_id is None else first_id
    times = JANUARY + (day - 1) * DAY_MS + np.sort(rng.integers(0, DAY_MS, n))
    return [
        f"{start + i},{100 + i % 7},{0 if i < bad else 1 + i % 5},{2 * i},{2 * i},{t},"
        f"{'true' if i % 3 else 'false'}"
        for i, t in enumerate(times)
        if i not in skip
    ]


def put(folder: Path, period: str, lines: list[str], also: Collection[str] = WITH_TAPE):
    return decode_into(folder, "\n".join(lines), period, "agg_trades_1m", also)


def read(lake: Lake, dataset: str) -> pa.Table:
    return pq.ParquetFile(lake.partition(VISION[dataset], "BTCUSDT", "2024-01")).read()


def tape(lake: Lake) -> list[int]:
    return read(lake, "agg_trades")["agg_trade_id"].to_pylist()


def land_ticks(lake: Lake, folder: Path, also: Collection[str] = WITH_TAPE, **parts):
    return land(lake, folder, dataset="agg_trades_1m", also=also, **parts)


def test_a_month_of_ticks_makes_three_partitions(tmp_path):
    lake = Lake(tmp_path / "lake")
    file = put(tmp_path, "2024-01", [x for d in range(1, 32) for x in ticks(d, 1000)])
    record = land_ticks(lake, tmp_path, month=True, files=[file])
    assert (record.rows_in, record.missing_ids, record.uncovered_days) == (31_000, 0, [])
    minutes, sizes = read(lake, "agg_trades_1m"), read(lake, "agg_trade_sizes_1h")
    assert sum(minutes["trade_count"].to_pylist()) == 31_000
    assert sum(n for row in sizes["n"].to_pylist() for n in row) == 31_000
    assert tape(lake) == list(range(1000, 32_000))


def test_a_month_of_ticks_from_days_has_the_same_bytes(tmp_path):
    days = {f"2024-01-{d:02d}": ticks(d, 1000) for d in range(1, 32)}
    put(tmp_path, "2024-01", [x for lines in days.values() for x in lines])
    for day, lines in days.items():
        put(tmp_path, day, lines)
    for name, parts in {"month": {"month": True}, "days": {"fresh": days}}.items():
        land_ticks(Lake(tmp_path / name), tmp_path, **parts)
    lake = Lake(tmp_path / "grown")
    some = sorted(days)[:20:3]
    land_ticks(lake, tmp_path, fresh=some)
    land_ticks(lake, tmp_path, fresh=days.keys() - some, keep=some)
    for dataset in ("agg_trades_1m", "agg_trade_sizes_1h", "agg_trades"):
        month, by_day, grown = (
            Lake(tmp_path / n).partition(VISION[dataset], "BTCUSDT", "2024-01").read_bytes()
            for n in ("month", "days", "grown")
        )
        assert month == by_day == grown, dataset


def test_a_daily_file_replaces_a_damaged_day_unless_it_is_worse(tmp_path):
    lines = {d: ticks(d, 1000) for d in range(1, 32)}
    month = {
        **lines,
        3: ticks(3, 1000, skip=range(100, 120)),  # lacks ids; the daily file has them
        5: ticks(5, 1000, bad=300),  # zero sizes; the daily file has more of them
        7: ticks(7, 1000, skip=range(50)),  # lacks its first ids; there is no daily file
        9: [],  # lacks the day; the daily file has it
        11: [],  # lacks the day; nobody has it
    }
    file = put(tmp_path, "2024-01", [x for d in month.values() for x in d])
    put(tmp_path, "2024-01-03", lines[3])
    put(tmp_path, "2024-01-05", ticks(5, 1000, bad=400))
    put(tmp_path, "2024-01-09", lines[9])
    lake = Lake(tmp_path / "lake")
    record = land_ticks(
        lake, tmp_path, month=True, fresh=["2024-01-03", "2024-01-05", "2024-01-09"], files=[file]
    )
    assert record.uncovered_days == ["2024-01-11"]
    assert record.missing_ids == 50 + 1000
    assert record.bad_rows == 300
    assert record.overlap_dropped == 980 + 1000
    gone = {*range(7000, 7050), *range(11_000, 12_000)}
    assert tape(lake) == [i for i in range(1000, 32_000) if i not in gone]
    bad = {r["minute_ts"].day for r in read(lake, "agg_trades_1m").to_pylist() if r["n_bad"]}
    assert bad == {5}


def layer(folder: Path, lines: list[str]) -> pa.Table:
    put(folder, "2024-01", lines, TICK_LAYERS)
    with pa.OSFile(str(folder / "2024-01.agg_trades_1m.arrow")) as source:
        return pa.ipc.open_file(source).read_all()


def test_damaged_days_are_those_that_another_file_may_repair(tmp_path):
    def damaged(month: dict[int, list[str]], today: date = date(2024, 3, 1)) -> list[int]:
        minutes = layer(tmp_path, [x for day in month.values() for x in day])
        return [int(day[-2:]) for day in damaged_days(minutes, "2024-01", today)]

    sound = {d: ticks(d, 1000) for d in range(1, 32)}
    assert damaged(sound) == []
    assert damaged({**sound, 4: []}) == [3, 4, 5], "ids on both sides are missing too"
    assert damaged({**sound, 4: ticks(4, 1000, skip=[999])}) == [4, 5], "on either side of midnight"
    assert damaged({**sound, 4: ticks(4, 1000, skip=[500])}) == [4]
    assert damaged({**sound, 4: ticks(4, 1000, bad=1)}) == [4]
    empty_end = {d: lines for d, lines in sound.items() if d < 20}
    assert damaged(empty_end, date(2024, 1, 22)) == [20, 21]
    relisted = {**sound, 9: [], 10: ticks(10, 500, first_id=1), 11: ticks(11, 500, first_id=501)}
    assert damaged(dict(list(relisted.items())[:11]), date(2024, 1, 12)) == [9], "ids begin anew"


def test_what_an_interrupted_run_decoded_is_not_decoded_again(tmp_path):
    file = put(tmp_path, "2024-01-02", ticks(2), TICK_LAYERS)

    def found(also: Collection[str] = TICK_LAYERS, **changes: str) -> bool:
        record = FileRecord(**{"url": "u", "period": "2024-01-02", "outcome": "failed",
                               "etag": "e", "checksum_etag": "c", **changes})  # fmt: skip
        before = decoded_before(tmp_path, "agg_trades_1m", record, also)
        assert before is None or before.record == file
        return before is not None

    assert found()
    assert not found(etag="replaced")
    assert not found(checksum_etag="replaced")
    assert not found(WITH_TAPE), "the ticks themselves were not kept"
    assert not found(period="2024-01-03")
    path = tmp_path / "2024-01-02.agg_trades_1m.arrow"
    path.write_bytes(path.read_bytes()[:-40])
    assert not found()
