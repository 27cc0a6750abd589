"""Which of an archive's ticks count, on archives of a few ticks."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from tests.mirror import put_zip
from tests.tape import read_file, ticks_of_archive

HEADER = "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker"


def line(i: int, day: int, quantity: float = 1.0, price: float = 10.0) -> str:
    """One tick of a day in January 2024, at noon."""
    time = pd.Timestamp(2024, 1, day, 12).value // 1_000_000
    return f"{i},{price},{quantity},{i},{i},{time},true"


def put(root: Path, period: str, lines: list[str], symbol: str = "AAA") -> Path:
    cadence = "monthly" if len(period) == 7 else "daily"
    key = f"data/futures/um/{cadence}/aggTrades/{symbol}/{symbol}-aggTrades-{period}.zip"
    return put_zip(root, key, "\n".join(lines).encode())


def truth(root: Path) -> tuple[list[tuple[str, int]], list[int]]:
    """(file, id) of every tick, and the covered days of January."""
    ticks, days = ticks_of_archive(root)
    files = zip(ticks["file"].str[5:], ticks["agg_trade_id"], strict=True)
    return sorted(files), [day.day for day in days["day"]]


def test_an_empty_archive(tmp_path: Path) -> None:
    assert truth(tmp_path) == ([], [])


def test_columns_and_order_of_the_file(tmp_path: Path) -> None:
    put(tmp_path, "2024-01", [HEADER, line(2, 1, 0.1, 1e-7), line(1, 1), line(1, 1)])
    ticks, days = ticks_of_archive(tmp_path)
    assert ticks["agg_trade_id"].tolist() == [2, 1, 1]
    assert ticks.iloc[0].tolist() == [
        "AAA", "2024-01", 2, 1e-7, 0.1, 2, 2, pd.Timestamp(2024, 1, 1, 12), True
    ]  # fmt: skip
    assert days.to_numpy().tolist() == [["AAA", pd.Timestamp(2024, 1, 1)]]


def test_the_monthly_file_comes_first(tmp_path: Path) -> None:
    put(tmp_path, "2024-01", [line(1, 1), line(2, 2)])
    put(tmp_path, "2024-01-02", [line(2, 2, 5), line(3, 2, 5)])
    assert truth(tmp_path) == ([("01", 1), ("01", 2)], [1, 2])


def test_daily_files_fill_the_days_that_it_lacks(tmp_path: Path) -> None:
    put(tmp_path, "2024-01", [line(1, 1), line(2, 3)])
    put(tmp_path, "2024-01-02", [HEADER])
    put(tmp_path, "2024-01-04", [line(3, 4)])
    assert truth(tmp_path) == ([("01", 1), ("01", 2), ("01-04", 3)], [1, 2, 3, 4])


def test_daily_files_stand_in_for_a_damaged_month(tmp_path: Path) -> None:
    path = put(tmp_path, "2024-01", [line(i, 1) for i in range(500)])
    content = path.read_bytes()
    put(tmp_path, "2024-01-01", [line(1, 1)])
    put(tmp_path, "2024-01-03", [line(2, 3)])
    daily = ([("01-01", 1), ("01-03", 2)], [1, 3])
    middle = len(content) // 3
    for broken in (
        content[: len(content) // 2],
        content[:middle] + b"\xff\xff\xff\xff" + content[middle + 4 :],
        b"<html>",
    ):
        path.write_bytes(broken)
        assert truth(tmp_path) == daily
        path.with_name(f"{path.name}.CHECKSUM").unlink(missing_ok=True)
    path.write_bytes(content)
    assert len(truth(tmp_path)[0]) == 500 + 1  # the monthly file lacks the third


def test_a_day_with_bad_ticks_comes_from_a_daily_file_that_holds_as_much(tmp_path: Path) -> None:
    put(tmp_path, "2024-01", [line(1, 1), line(2, 2), line(3, 2, 0), line(4, 3), line(5, 3)])
    put(tmp_path, "2024-01-01", [line(1, 1, 7)])
    put(tmp_path, "2024-01-02", [line(2, 2)])
    assert truth(tmp_path)[0] == [("01", 1), ("01", 4), ("01", 5), ("01-02", 2)]
    put(tmp_path, "2024-01-02", [line(3, 2, 0)])
    assert truth(tmp_path)[0] == [("01", i) for i in range(1, 6)]


@pytest.mark.parametrize("day", [1, 2])
def test_a_hole_touches_both_its_days(tmp_path: Path, day: int) -> None:
    put(tmp_path, "2024-01", [line(1, 1), line(4, 2), line(5, 3)])
    put(tmp_path, "2024-01-03", [line(5, 3), line(6, 3)])
    i = {1: 1, 2: 4}[day]
    put(tmp_path, f"2024-01-0{day}", [line(i, day), line(i, day), line(3, day)])
    month = [("01", j) for j in (1, 4, 5) if j != i]
    assert truth(tmp_path)[0] == month + [(f"01-0{day}", j) for j in sorted([i, i, 3])]


def test_a_hole_inside_a_day_and_a_daily_file_with_less(tmp_path: Path) -> None:
    put(tmp_path, "2024-01", [line(1, 1), line(2, 1), line(4, 1)])
    put(tmp_path, "2024-01-01", [line(1, 1), line(2, 1), line(2, 1), line(3, 1, 0)])
    assert truth(tmp_path) == ([("01", 1), ("01", 2), ("01", 4)], [1])


def test_rows_of_other_periods_are_not_there(tmp_path: Path) -> None:
    path = put(tmp_path, "2024-01-02", [line(1, 1), line(2, 2), line(3, 3)])
    assert truth(tmp_path) == ([("01-02", 2)], [2])
    assert read_file(path.rename(path.with_name("moved.zip")), "2024-01-09") is None


def test_symbols_are_apart_and_decoded(tmp_path: Path) -> None:
    put(tmp_path, "2024-01", [line(1, 1)])
    put(tmp_path, "2024-01-02", [line(1, 2)], symbol="%E5%B8%81")
    ticks, days = ticks_of_archive(tmp_path)
    assert ticks["symbol"].tolist() == days["symbol"].tolist() == ["币", "AAA"]


@pytest.mark.parametrize("factor", [1, 1_000, 1_000_000])
def test_units_of_time(tmp_path: Path, factor: int) -> None:
    cells = line(1, 1).split(",")
    cells[5] = str(int(cells[5]) * factor)
    put(tmp_path, "2024-01", [",".join(cells)])
    assert ticks_of_archive(tmp_path)[0]["transact_time"].tolist() == [pd.Timestamp(2024, 1, 1, 12)]
