"""What is read from a zip, what is refused, and that every row is accounted for."""

from __future__ import annotations

import io
import random
import stat
import zipfile
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.datasets import VISION
from ingest.decode import decode
from ingest.errors import Quarantine
from ingest.lake import FileRecord
from tests.mirror import REAL, lay_out_metrics, require_real_data

HEADER = (
    "open_time,open,high,low,close,volume,close_time,quote_volume,count,"
    "taker_buy_volume,taker_buy_quote_volume,ignore"
)
MS = int(datetime(2024, 1, 1).timestamp() * 1000)


def bar(minute: int, *, close: float = 10.0, scale: int = 1, offset: int = 0) -> str:
    start = (MS + minute * 60_000) * scale + offset
    end = (MS + minute * 60_000 + 59_999) * scale
    return f"{start},10,11,9,{close},5,{end},50,3,2,20,0"


def zipped(folder: Path, csv: str | bytes, name: str = "BTCUSDT-1m-2024-01.csv") -> Path:
    path = folder / "file.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, csv)
    return path


def read(path: Path, dataset: str = "klines_1m", period: str = "2024-01"):
    record = FileRecord("https://example/file.zip", period, "landed")
    table = decode(path, VISION[dataset], "BTCUSDT", record)
    return table, record


@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("ending", ["", "\n", "\n\n"])
def test_layouts_of_one_file_read_alike(tmp_path, header, newline, bom, ending):
    lines = ([HEADER] if header else []) + [bar(0), bar(1)]
    csv = bom + (newline.join(lines) + ending.replace("\n", newline)).encode()
    table, record = read(zipped(tmp_path, csv))
    assert table["open_time"].to_pylist() == [
        datetime(2024, 1, 1, 0, 0),
        datetime(2024, 1, 1, 0, 1),
    ]
    assert table["trade_count"].to_pylist() == [3, 3]
    assert record.header_present is header
    assert (record.rows_in, record.rows_out, record.epoch_unit) == (2, 2, "ms")


@pytest.mark.parametrize(("scale", "unit"), [(1, "ms"), (1_000, "us"), (1_000_000, "ns")])
def test_epoch_unit_is_read_from_the_digits(tmp_path, scale, unit):
    table, record = read(zipped(tmp_path, "\n".join(bar(m, scale=scale) for m in range(3))))
    assert record.epoch_unit == unit
    assert table["open_time"][2].as_py() == datetime(2024, 1, 1, 0, 2)
    assert table["close_time"][0].as_py() == datetime(2024, 1, 1, 0, 0, 59, 999_000)


def test_exponent_numbers_are_numbers(tmp_path):
    table, _ = read(zipped(tmp_path, bar(0).replace(",5,", ",5e-7,")))
    assert table["volume"].to_pylist() == [5e-7]


def test_header_only_and_empty_files_have_no_rows(tmp_path):
    for csv in (HEADER, HEADER + "\n", ""):
        table, record = read(zipped(tmp_path, csv))
        assert (table.num_rows, record.rows_in, record.rows_out) == (0, 0, 0)


def test_mark_price_columns_are_read_by_position(tmp_path):
    header = "open_time,open,high,low,close,ignore,close_time,ignore,ignore,ignore,ignore,ignore"
    csv = f"{header}\n{MS},-0.0012,0.1,-0.2,-0.0001,0,{MS + 59_999},0,60,0,0,0"
    table, _ = read(zipped(tmp_path, csv), "premium_index_klines_1m")
    assert table.schema.names == ["open_time", "open", "high", "low", "close", "close_time"]
    assert table["close"].to_pylist() == [-0.0001]


METRICS_HEADER = ",".join(VISION["metrics"].headers[0])


def test_metrics_keep_position_and_empty_cells(tmp_path):
    csv = (
        f"{METRICS_HEADER}\n"
        '2024-01-05 00:05:00,BTCUSDT,10.5,420000.0,"","","",""\n'
        "2024-01-06 00:00:02,BTCUSDT,11.5,430000.0,1.1,1.2,1.3,0.9\n"
    )
    table, record = read(zipped(tmp_path, csv), "metrics", "2024-01-05")
    assert table["count_long_short_ratio"].to_pylist() == [None, 1.3]
    assert [str(d) for d in table["file_date"].to_pylist()] == ["2024-01-05"] * 2
    assert table["file_row"].to_pylist() == [0, 1]
    assert record.out_of_period_dropped == 0


BAD_CSV = {
    "extra column": (bar(0) + ",7", "Expected 12 columns"),
    "missing column": (bar(0).rsplit(",", 1)[0], "Expected 12 columns"),
    "renamed column": (HEADER.replace("volume", "vol", 1) + "\n" + bar(0), "unexpected header"),
    "text in a number": (bar(0).replace(",11,", ",eleven,"), "unreadable CSV"),
    "nan": (bar(0).replace(",11,", ",nan,"), "column high holds nan or inf"),
    "inf": (bar(0).replace(",11,", ",inf,"), "column high holds nan or inf"),
    "empty cell": (bar(0).replace(",11,", ",,"), "column high is empty in 1 rows"),
    "integer overflow": (bar(0).replace(",3,", ",99999999999999999999,"), "unreadable CSV"),
    "NUL byte": (bar(0) + "\n\0", "NUL bytes"),
    "mixed epoch units": (bar(0) + "\n" + bar(1, scale=1000), "not one epoch unit"),
    "another month": (bar(60 * 24 * 40), "no row lies in 2024-01"),
    "HTML": ("<!DOCTYPE html><html></html>", "unexpected header"),
}


@pytest.mark.parametrize("case", BAD_CSV)
def test_bad_csv_is_refused(tmp_path, case):
    csv, message = BAD_CSV[case]
    with pytest.raises(Quarantine, match=message):
        read(zipped(tmp_path, csv))


def test_rows_of_another_symbol_are_refused(tmp_path):
    csv = f'{METRICS_HEADER}\n2024-01-05 00:05:00,ETHUSDT,1,2,"","","",""\n'
    with pytest.raises(Quarantine, match=r"other symbols: .'ETHUSDT'"):
        read(zipped(tmp_path, csv), "metrics", "2024-01-05")


def _raw(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def _two_members(folder: Path) -> Path:
    path = folder / "file.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.csv", bar(0))
        archive.writestr("b.csv", bar(1))
    return path


def _link(folder: Path) -> Path:
    path = folder / "file.zip"
    info = zipfile.ZipInfo("a.csv")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(info, "/etc/passwd")
    return path


def _patched(folder: Path, old: bytes, new: bytes) -> Path:
    path = zipped(folder, bar(0))
    content = path.read_bytes()
    assert old in content
    return _raw(path, content.replace(old, new))


def _wrong_crc(folder: Path) -> Path:
    path = folder / "file.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("BTCUSDT-1m-2024-01.csv", bar(0))
    return _raw(path, path.read_bytes().replace(b",10,11,9,", b",10,12,9,"))


def _encrypted(folder: Path) -> Path:
    path = zipped(folder, bar(0))
    content = bytearray(path.read_bytes())
    content[6] |= 1
    central = content.rindex(b"PK\x01\x02")
    content[central + 8] |= 1
    return _raw(path, bytes(content))


def _damaged_stream(folder: Path) -> Path:
    path = zipped(folder, "\n".join(bar(m) for m in range(500)))
    content = bytearray(path.read_bytes())
    content[200:260] = bytes(60)
    return _raw(path, bytes(content))


BAD_ZIPS = {
    "HTML": (
        lambda d: _raw(d / "f", b"<html><body>Busy</body></html>"),
        "not a zip file: .*<html>",
    ),
    "empty": (lambda d: _raw(d / "f", b""), "not a zip file"),
    "truncated": (
        lambda d: _raw(d / "f", zipped(d, bar(0)).read_bytes()[:-30]),
        "damaged zip",
    ),
    "wrong CRC": (_wrong_crc, "damaged zip: Bad CRC"),
    "damaged stream": (_damaged_stream, "damaged zip"),
    "two members": (_two_members, "found 2"),
    "no member": (lambda d: zipped(d, "", "folder/"), "found 0"),
    "parent folder": (lambda d: zipped(d, bar(0), "../BTCUSDT.csv"), "unsafe member name"),
    "encoded parent": (lambda d: zipped(d, bar(0), "..\\BTCUSDT.csv"), "unsafe member name"),
    "absolute": (lambda d: zipped(d, bar(0), "/tmp/BTCUSDT.csv"), "unsafe member name"),
    "link": (_link, "is a link"),
    "encrypted": (_encrypted, "encrypted"),
    "nested zip": (lambda d: zipped(d, b"PK", "inner.zip"), "not a CSV"),
}


@pytest.mark.parametrize("case", BAD_ZIPS)
def test_bad_zip_is_refused(tmp_path, case):
    make, message = BAD_ZIPS[case]
    with pytest.raises(Quarantine, match=message):
        read(make(tmp_path))


def test_bomb_is_refused_while_it_inflates(tmp_path):
    path = zipped(tmp_path, b"\n" * (VISION["klines_1m"].max_csv_bytes + 1))
    assert path.stat().st_size < 1 << 20
    with pytest.raises(Quarantine, match="inflates to more than 67,108,864 bytes"):
        read(path)


def test_a_resource_fork_beside_the_member_is_ignored(tmp_path):
    path = tmp_path / "file.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("__MACOSX/._a.csv", b"junk")
        archive.writestr("a.csv", bar(0))
    assert read(path)[0].num_rows == 1


@given(st.randoms(use_true_random=False), st.integers(1, 40))
def test_every_row_is_accounted_for(random_: random.Random, n: int):
    """Disorder, duplicates, conflicts and strays: counts add up and the result is ordered."""
    rows = []
    for _ in range(n):
        kind = random_.choice(["row", "row", "copy", "conflict", "stray"])
        minute = random_.randrange(30)
        if kind == "copy" and rows:
            rows.append(random_.choice(rows))
        elif kind == "stray":
            rows.append(bar(60 * 24 * 31 + minute))
        else:
            rows.append(bar(minute, close=random_.choice([9.5, 10.0])))
    rows.append(bar(31))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.csv", "\n".join(rows))
    path = Path("/dev/shm") / f"perp-test-{id(buffer)}.zip"
    try:
        path.write_bytes(buffer.getvalue())
        table, record = read(path)
    finally:
        path.unlink()
    assert record.rows_in == len(rows)
    assert record.rows_in == (
        record.rows_out
        + record.duplicates_dropped
        + record.conflicts_dropped
        + record.out_of_period_dropped
    )
    inside = [r for r in rows if int(r.split(",")[0]) < MS + 31 * 86_400_000]
    assert record.out_of_period_dropped == len(rows) - len(inside)
    assert record.duplicates_dropped == len(inside) - len(set(inside))
    times = table["open_time"].to_pylist()
    assert times == sorted(set(times))
    last = {int(r.split(",")[0]): float(r.split(",")[4]) for r in dict.fromkeys(inside)}
    assert table["close"].to_pylist() == [last[k] for k in sorted(last)]


# ------------------------------------------------------------------------------- genuine files
def test_genuine_metrics_days_read_whole(tmp_path):
    """Every LINKUSDT metrics day reads without loss; the documented short days are short."""
    lay_out_metrics(require_real_data(), tmp_path, "LINKUSDT")
    counts = {}
    for path in sorted(tmp_path.rglob("*.zip")):
        record = FileRecord("u", path.stem[-10:], "landed")
        decode(path, VISION["metrics"], "LINKUSDT", record)
        assert record.rows_out == record.rows_in
        counts[record.period] = record.rows_out
    assert len(counts) > 200
    assert counts["2024-02-16"] == 163
    assert counts["2023-09-12"] == 285
    assert counts["2025-08-29"] == 285
    assert counts["2024-10-28"] == 286


def test_genuine_spot_zips_verify_and_have_no_header():
    """Original archive zips with their original sidecars (spot: the only ones published whole)."""
    folder = require_real_data() / "vision-spot-daily-klines-zip-with-checksum"
    paths = sorted(folder.glob("*.zip"))
    assert paths, f"no zips under {REAL}"
    for path in paths:
        record = FileRecord("u", path.stem[-10:], "landed")
        table = decode(path, VISION["klines_1m"], "BTCUSDT", record)
        assert (table.num_rows, record.header_present, record.epoch_unit) == (1440, False, "ms")
        steps = {
            b - a
            for a, b in zip(*[table["open_time"].to_pylist()[i:] for i in (0, 1)], strict=False)
        }
        assert steps == {timedelta(minutes=1)}
