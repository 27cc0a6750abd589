"""Day files of Tardis over real HTTP and from folders: what lands, what is refused, what stays."""

from __future__ import annotations

import gzip
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from ingest import datasets
from ingest.config import Config
from ingest.errors import PerpError, UsageError
from ingest.lake import Lake, LandingRecord
from ingest.run import Options, Summary
from ingest.sandbox import server as faults
from ingest.sandbox.tardis import LIQUIDATIONS, TICKER, TardisServer
from ingest.sources.downloads import Retry
from ingest.sources.tardis import DayFile, TardisClient
from ingest.tardis import ingest_tardis
from tests.ingest.conftest import lake_contents

PERP = Path(sys.executable).with_name("perp")
JAN = [date(2024, 1, day) for day in range(1, 32)]
SECRET = "TD.sesame-0123456789"


def micros(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1)) // timedelta(microseconds=1)


def order(
    day: date, second: float, price: str = "10.5", *, symbol: str = "BTCUSDT", late: float = 0.3
) -> str:
    """A liquidation that arrives some seconds after midnight, sent ``late`` seconds before."""
    arrival = micros(datetime(day.year, day.month, day.day)) + round(second * 1e6)
    return f"binance-futures,{symbol},{arrival - round(late * 1e6)},{arrival},,sell,{price},2"


def tick(day: date, second: float, cells: str = ",,,,42000.1,,") -> str:
    arrival = micros(datetime(day.year, day.month, day.day)) + round(second * 1e6)
    return f"binance-futures,BTCUSDT,{arrival},{arrival},{cells}"


def csv(*lines: str, header: str = LIQUIDATIONS) -> bytes:
    return "\n".join([header, *lines, ""]).encode()


def packed(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)


EMPTY = packed(b"")


@dataclass
class Vendor:
    """The server, files put there by hand, and a lake to land in."""

    server: TardisServer
    config: Config
    options: Options = field(
        default_factory=lambda: Options(connections=4, retry=Retry(attempts=3, base_seconds=0.01))
    )

    def put(
        self, day: date, body: bytes, *, symbol: str = "BTCUSDT", dataset: str = "liquidations"
    ) -> str:
        """Publish (or replace) a day file; returns its path."""
        path = DayFile(dataset, symbol, day).key
        self.server.replaced[path] = body
        return path

    def orders(self, day: date, *lines: str) -> str:
        return self.put(day, packed(csv(*(lines or (order(day, 60), order(day, 120))))))

    def ingest(
        self,
        first: date = JAN[0],
        last: date = JAN[1],
        *,
        symbols: list[str] | None = ["BTCUSDT"],  # noqa: B006 (never changed)
        datasets: tuple[str, ...] = ("liquidations",),
        path: Path | None = None,
        dry_run: bool = False,
    ) -> Summary:
        return ingest_tardis(
            self.config,
            path=path,
            datasets=list(datasets),
            symbols=symbols,
            first=first,
            last=last,
            options=self.options,
            dry_run=dry_run,
        )

    @property
    def lake(self) -> Lake:
        return Lake(self.config.lake)

    def record(
        self, month: str = "2024-01", symbol: str = "BTCUSDT", dataset: str = "liquidations"
    ) -> LandingRecord:
        return self.lake.state("tardis")[dataset, symbol, month]

    def rows(self, month: str = "2024-01", **kw: str) -> list[dict]:
        record = self.record(month, **kw)
        return pq.ParquetFile(self.lake.partition_of(record)).read().to_pylist()

    def contents(self) -> dict[str, str]:
        return lake_contents(self.config.lake)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake as every ingest leaves it; to be copied, which is faster than preparing it anew."""
    lake = tmp_path_factory.mktemp("prepared") / "lake"
    Lake(lake).prepare("sandbox")
    return lake


@pytest.fixture
def vendor(tmp_path: Path, prepared: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Vendor]:
    """Two days of BTCUSDT liquidations, two orders each; no key is set."""
    monkeypatch.delenv("TARDIS_API_KEY", raising=False)
    shutil.copytree(prepared, tmp_path / "lake")
    with TardisServer({}, key=None) as server:
        nowhere = "http://127.0.0.1:9"
        config = Config(
            tmp_path / "lake", tmp_path / "w.duckdb", nowhere, nowhere, tardis_url=server.url
        )
        made = Vendor(server, config)
        made.orders(JAN[0])
        made.orders(JAN[1])
        yield made


# ------------------------------------------------------------------------------- the main path
def test_days_land_by_arrival_and_a_second_run_downloads_nothing(vendor: Vendor):
    summary = vendor.ingest()
    assert (summary.ok, dict(summary.partitions), summary.files["landed"]) == (
        True, {"landed": 1}, 2,
    )  # fmt: skip
    record = vendor.record()
    assert (record.status, record.rows_in, record.rows_out) == ("landed", 4, 4)
    assert record.covered == [["2024-01-01T00:00:00", "2024-01-03T00:00:00"]]
    assert (record.first_day, record.last_day) == ("2024-01-01", "2024-01-02")
    assert record.first_time == "2024-01-01T00:01:00"
    first = record.files[0]
    assert (first.period, first.outcome, first.rows_in, first.rows_out) == (
        "2024-01-01", "landed", 2, 2,
    )  # fmt: skip
    assert (first.epoch_unit, first.attempts, first.last_time) == ("us", 1, "2024-01-01T00:02:00")
    assert first.etag
    assert first.sha256_actual
    assert first.url == f"{vendor.server.url}/{DayFile('liquidations', 'BTCUSDT', JAN[0]).key}"
    assert vendor.rows()[0] == {
        "contract": "BTCUSDT",
        "timestamp": datetime(2024, 1, 1, 0, 0, 59, 700000),
        "local_timestamp": datetime(2024, 1, 1, 0, 1),
        "id": None,
        "side": "sell",
        "price": 10.5,
        "amount": 2.0,
    }

    before, lines = vendor.contents(), len(list(vendor.lake.history("tardis")))
    vendor.server.requests.clear()
    again = vendor.ingest()
    assert (again.up_to_date, dict(again.partitions), again.bytes) == (1, {}, 0)
    assert dict(vendor.server.statuses) == {304: 2}
    assert vendor.contents() == before
    assert len(list(vendor.lake.history("tardis"))) == lines


def test_what_arrives_after_midnight_is_of_the_next_day(vendor: Vendor):
    february = date(2024, 2, 1)
    vendor.orders(JAN[30], order(JAN[30], 86_399.5))
    vendor.orders(february, order(february, 0.2, late=0.5))
    assert vendor.ingest(JAN[30], february).ok
    assert len(vendor.rows("2024-01")) == 1
    (row,) = vendor.rows("2024-02")
    assert row["timestamp"] == datetime(2024, 1, 31, 23, 59, 59, 700000)
    assert row["local_timestamp"] == datetime(2024, 2, 1, 0, 0, 0, 200000)
    assert vendor.record("2024-02").covered == [["2024-02-01T00:00:00", "2024-02-02T00:00:00"]]


def test_the_group_file_is_the_whole_market_and_the_default_for_liquidations(vendor: Vendor):
    vendor.put(
        JAN[0],
        packed(csv(order(JAN[0], 1), order(JAN[0], 2, symbol="币安人生USDT"))),
        symbol=datasets.MARKET,
    )
    assert vendor.ingest(last=JAN[0], symbols=None).ok
    assert [r["contract"] for r in vendor.rows(symbol="_market")] == ["BTCUSDT", "币安人生USDT"]
    assert [r.path for r in vendor.server.requests] == [
        "v1/binance-futures/liquidations/2024/01/01/PERPETUALS.csv.gz"
    ]


def test_tickers_keep_empty_cells_and_equal_rows_in_the_order_of_the_file(vendor: Vendor):
    full = "1704096000000000,0.0001,,57146.894,42000.2,42001.5,42002.5"
    body = csv(
        tick(JAN[0], 1), tick(JAN[0], 5, full), tick(JAN[0], 5), tick(JAN[0], 5), header=TICKER
    )
    vendor.put(JAN[0], packed(body), dataset="derivative_ticker")
    assert vendor.ingest(last=JAN[0], datasets=("derivative_ticker",)).ok
    rows = vendor.rows(dataset="derivative_ticker")
    assert [r["mark_price"] for r in rows] == [None, 42002.5, None, None]
    assert rows[1]["funding_timestamp"] == datetime(2024, 1, 1, 8)
    assert {r["predicted_funding_rate"] for r in rows} == {None}
    assert rows[0] | {"last_price": 42000.1} == rows[0]


def test_equal_liquidations_are_one_and_counted(vendor: Vendor):
    twice = order(JAN[0], 5)
    vendor.orders(JAN[0], twice, order(JAN[0], 5, "11"), twice, order(JAN[0], 6))
    assert vendor.ingest(last=JAN[0]).ok
    assert [r["price"] for r in vendor.rows()] == [10.5, 11.0, 10.5]
    record = vendor.record()
    assert (record.rows_in, record.rows_out, record.duplicates_dropped) == (4, 3, 1)
    assert record.files[0].duplicates_dropped == 1


@pytest.mark.parametrize("dataset", ["liquidations", "derivative_ticker"])
def test_a_file_out_of_order_is_sorted_by_arrival_and_then_by_position(vendor: Vendor, dataset):
    seconds = (9, 3, 9, 1)
    prices = ("1", "2", "3", "4")
    if dataset == "liquidations":
        lines = [order(JAN[0], s, p) for s, p in zip(seconds, prices, strict=True)]
        body, column = csv(*lines), "price"
    else:
        lines = [tick(JAN[0], s, f",,,,{p},,") for s, p in zip(seconds, prices, strict=True)]
        body, column = csv(*lines, header=TICKER), "last_price"
    vendor.put(JAN[0], packed(body), dataset=dataset)
    assert vendor.ingest(last=JAN[0], datasets=(dataset,)).ok
    assert [r[column] for r in vendor.rows(dataset=dataset)] == [4, 2, 1, 3]
    assert vendor.record(dataset=dataset).out_of_order == 2


NO_ROWS = {
    "empty gzip": EMPTY,
    "header only": packed(csv()),
    "header without a line end": packed(LIQUIDATIONS.encode()),
    "header and blank lines": packed(csv() + b"\n\r\n"),
}


@pytest.mark.parametrize("case", NO_ROWS)
def test_a_day_without_data_is_landed_with_no_rows(vendor: Vendor, case):
    vendor.put(JAN[1], NO_ROWS[case])
    assert vendor.ingest().ok
    record = vendor.record()
    assert [(f.outcome, f.rows_out) for f in record.files] == [("landed", 2), ("landed", 0)]
    assert record.covered == [["2024-01-01T00:00:00", "2024-01-03T00:00:00"]]
    assert (record.files[1].first_time, record.files[1].epoch_unit) == (None, None)


def test_a_month_without_data_is_a_partition_without_rows(vendor: Vendor):
    vendor.put(JAN[0], EMPTY)
    assert vendor.ingest(last=JAN[0]).ok
    assert vendor.rows() == []
    vendor.server.requests.clear()
    assert vendor.ingest(last=JAN[0]).up_to_date == 1
    assert dict(vendor.server.statuses) == {304: 1}


FORMS = {
    "columns in another order": csv(
        "2,binance-futures,BTCUSDT,1704067260000000,1704067260000000,,sell,10.5",
        header="amount,exchange,symbol,timestamp,local_timestamp,id,side,price",
    ),
    "further columns": csv(order(JAN[0], 60) + ",x,y", header=LIQUIDATIONS + ",new,newer"),
    "CRLF": csv(order(JAN[0], 60)).replace(b"\n", b"\r\n"),
    "byte order mark": b"\xef\xbb\xbf" + csv(order(JAN[0], 60)),
    "no last line end": csv(order(JAN[0], 60)).rstrip(),
    "an id": csv(order(JAN[0], 60).replace(",,", ",77,")),
}


@pytest.mark.parametrize("case", FORMS)
def test_another_form_of_the_csv_lands(vendor: Vendor, case):
    vendor.put(JAN[0], packed(FORMS[case]))
    assert vendor.ingest(last=JAN[0]).ok
    (row,) = vendor.rows()
    assert (row["price"], row["amount"], row["local_timestamp"]) == (
        10.5, 2.0, datetime(2024, 1, 1, 0, 1),
    )  # fmt: skip


def test_two_gzip_members_are_one_file(vendor: Vendor):
    vendor.put(JAN[0], packed(csv(order(JAN[0], 1))) + packed(f"{order(JAN[0], 2)}\n".encode()))
    assert vendor.ingest(last=JAN[0]).ok
    assert len(vendor.rows()) == 2


# --------------------------------------------------------------------------------- bad content
GOOD = order(JAN[1], 60)
IN_MS = GOOD.replace("000000,", "000,").replace("700000,", "700,")
BAD = {
    "HTML": (b"<!DOCTYPE html><html>Sorry</html>", "not a gzip file: it begins with '<!DOCTYPE"),
    "HTML in gzip": (packed(b"<html>\n</html>\n"), "the header lacks timestamp, local_timestamp"),
    "nothing at all": (b"", "not a gzip file"),
    "truncated gzip": (packed(csv(GOOD))[:-12], "damaged gzip"),
    "damaged gzip": (packed(csv(GOOD))[:-8] + b"\0" * 8, "damaged gzip"),
    "missing column": (packed(csv(GOOD, header=LIQUIDATIONS[:-7])), "the header lacks amount"),
    "a column twice": (
        packed(csv(GOOD + ",1", header=LIQUIDATIONS + ",price")),
        "the header names price twice",
    ),
    "no header": (packed(f"{GOOD}\n".encode()), "the header lacks"),
    "short line": (packed(csv(GOOD, "binance-futures,BTCUSDT")), "Expected 8 columns, got 2"),
    "other exchange": (
        packed(csv(GOOD.replace("binance-futures", "binance-delivery"))),
        "column exchange holds 'binance-delivery'; expected is binance-futures",
    ),
    "other symbol": (
        packed(csv(GOOD, order(JAN[1], 61, symbol="ETHUSDT"))),
        "column symbol holds 'ETHUSDT'; expected is BTCUSDT",
    ),
    "other side": (
        packed(csv(GOOD.replace("sell", "SELL"))),
        "column side holds 'SELL'; expected is buy or sell",
    ),
    "no number": (packed(csv(GOOD.replace("10.5", "ten"))), "invalid value 'ten'"),
    "nan": (packed(csv(GOOD.replace("10.5", "nan"))), "column price holds nan or inf"),
    "no price": (packed(csv(GOOD.replace("10.5", ""))), "column price is empty in 1 rows"),
    "no arrival": (packed(csv(",".join([*GOOD.split(",")[:3], "", "", "sell,1,1"]))),
                   "column local_timestamp is empty in 1 rows"),
    "milliseconds": (packed(csv(IN_MS)), "column timestamp is in ms, not in microseconds"),
    "nanoseconds": (
        packed(csv(GOOD.replace("000000,", "000000000,").replace("700000,", "700000000,"))),
        "column timestamp is in ns, not in microseconds",
    ),
    "fraction of an epoch": (packed(csv(GOOD.replace("000000,", "000000.5,"))), "invalid value"),
    "the day before": (packed(csv(order(JAN[0], 5))), "did not arrive on 2024-01-02"),
    "the day after": (
        packed(csv(GOOD, order(JAN[1], 86_400))),
        "did not arrive on 2024-01-02: they run from 2024-01-02 00:01:00 to 2024-01-03 00:00:00",
    ),
    "an endless line": (packed(csv("x" * 9_000_000)), "unreadable CSV"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_kept_in_quarantine_and_the_other_days_land(vendor: Vendor, case):
    body, reason = BAD[case]
    vendor.put(JAN[1], body)
    summary = vendor.ingest()
    assert not summary.ok
    assert reason in summary.problems[0]
    name = "binance-futures_liquidations_2024-01-02_BTCUSDT.csv.gz"
    assert summary.problems[0].startswith(f"quarantined: {name}: ")
    kept = vendor.lake.quarantine / "tardis" / name
    assert kept.read_bytes() == body
    assert str(kept) in summary.problems[0]
    record = vendor.record()
    assert [f.outcome for f in record.files] == ["landed", "quarantined"]
    assert record.covered == [["2024-01-01T00:00:00", "2024-01-02T00:00:00"]]
    assert len(vendor.rows()) == 2
    assert list((vendor.lake.tmp / "tardis").rglob("*.*")) == []


def test_a_known_bad_file_is_not_read_again_until_upstream_replaces_it(vendor: Vendor):
    vendor.put(JAN[1], packed(b"bad"))
    vendor.ingest()
    again = vendor.ingest()
    assert (again.ok, again.known_bad, again.up_to_date) == (True, 1, 1)
    vendor.orders(JAN[1])
    assert vendor.ingest().ok
    assert len(vendor.rows()) == 4
    assert [f.outcome for f in vendor.record().files] == ["landed", "landed"]


def test_a_bad_file_is_tried_again_on_request(vendor: Vendor):
    vendor.put(JAN[1], packed(b"x"))
    vendor.ingest()
    vendor.options = replace(vendor.options, retry_quarantined=True)
    vendor.server.requests.clear()
    assert not vendor.ingest().ok
    assert dict(vendor.server.statuses) == {304: 1, 200: 1}


def test_a_file_that_inflates_beyond_its_limit_is_refused(vendor: Vendor, monkeypatch):
    spec = replace(datasets.TARDIS["liquidations"], max_csv_bytes=10_000)
    monkeypatch.setitem(datasets.TARDIS, "liquidations", spec)
    vendor.put(JAN[1], packed(csv(*[GOOD] * 10_000)))
    summary = vendor.ingest()
    assert "inflates to more than 10,000 bytes" in summary.problems[0]
    assert vendor.record().rows_out == 2


# -------------------------------------------------------------------------------------- the wire
PASSING = {
    "503 once": [faults.status(503)],
    "429 with Retry-After": [faults.status(429, {"Retry-After": "0"})],
    "reset before the body": [faults.reset()],
    "short body, resumed": [faults.short_body(50)],
    "reset in the body, resumed": [faults.reset(50)],
    "file replaced while resuming": [faults.short_body(50), faults.new_etag("other")],
    "longer than announced": [faults.long_body(9)],
}


@pytest.mark.parametrize("case", PASSING)
def test_a_passing_fault_is_outlived(vendor: Vendor, case):
    path = DayFile("liquidations", "BTCUSDT", JAN[0]).key
    vendor.server.faults[path] = list(PASSING[case])
    assert vendor.ingest().ok
    assert len(vendor.rows()) == 4
    assert vendor.server.faults[path] == []


def test_a_download_is_resumed_by_the_same_run_and_by_the_next(vendor: Vendor):
    path = DayFile("liquidations", "BTCUSDT", JAN[0]).key
    vendor.server.faults[path] = [faults.short_body(40), faults.short_body(20), faults.reset()]
    assert not vendor.ingest(last=JAN[0]).ok
    assert vendor.ingest(last=JAN[0]).ok
    ranges = [r.range for r in vendor.server.requests]
    assert ranges == [None, "bytes=40-", "bytes=60-", "bytes=60-"]
    assert len(vendor.rows()) == 2


LASTING = {
    "503": (faults.status(503), "HTTP 503 (3 attempts)"),
    "429": (faults.status(429, {"Retry-After": "0"}), "HTTP 429 (3 attempts)"),
    "400": (faults.status(400), "HTTP 400: the vendor knows no such symbol or day"),
    "401": (faults.status(401), "HTTP 401: only first days of months are free"),
    "403": (faults.status(403), "HTTP 403: access denied"),
    "304 to nothing": (faults.status(304), "HTTP 304: unexpected answer"),
    "redirect": (
        faults.status(302, {"Location": "https://elsewhere.example/x"}),
        "a redirect to https://elsewhere.example/x is refused",
    ),
    "short body": (faults.short_body(0), "(3 attempts)"),
}


@pytest.mark.parametrize("case", LASTING)
def test_a_lasting_fault_is_a_clear_failure_and_the_rest_lands(vendor: Vendor, case):
    fault, message = LASTING[case]
    path = DayFile("liquidations", "BTCUSDT", JAN[1]).key
    vendor.server.always[path] = fault
    summary = vendor.ingest()
    assert summary.problems[0].startswith("failed: liquidations BTCUSDT: ")
    assert message in summary.problems[0]
    record = vendor.record()
    assert (record.status, [f.outcome for f in record.files]) == ("landed", ["landed", "failed"])
    assert record.covered == [["2024-01-01T00:00:00", "2024-01-02T00:00:00"]]
    vendor.server.always.clear()
    assert vendor.ingest().ok
    assert len(vendor.rows()) == 4


def test_an_absent_file_is_a_fact_that_is_recorded_once_and_looked_for_again(vendor: Vendor):
    summary = vendor.ingest(last=JAN[2])
    assert summary.ok
    assert [f.outcome for f in vendor.record().files] == ["landed", "landed", "absent_upstream"]
    lines = len(list(vendor.lake.history("tardis")))
    assert vendor.ingest(last=JAN[2]).up_to_date == 1
    assert len(list(vendor.lake.history("tardis"))) == lines
    vendor.orders(JAN[2])
    assert vendor.ingest(last=JAN[2]).ok
    assert vendor.record().covered == [["2024-01-01T00:00:00", "2024-01-04T00:00:00"]]


def test_a_symbol_that_is_not_there_is_absent(vendor: Vendor):
    assert vendor.ingest(symbols=["NEWUSDT"]).ok
    record = vendor.record(symbol="NEWUSDT")
    assert (record.status, record.parquet_bytes, record.covered) == ("absent_upstream", None, [])


def test_a_server_that_cannot_be_reached_stops_the_run(vendor: Vendor):
    vendor.config = replace(vendor.config, tardis_url="http://127.0.0.1:9")
    with pytest.raises(PerpError, match=r"cannot reach http://127.0.0.1:9.* PERP_TARDIS_URL"):
        vendor.ingest()


def test_a_disk_that_is_full_stops_the_run_and_says_so(vendor: Vendor, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(PerpError, match=r"no space left for the lake .* same command again"):
        vendor.ingest()
    monkeypatch.undo()
    assert vendor.ingest().ok


# -------------------------------------------------------------------------------------- editions
def test_a_new_edition_replaces_its_day_alone(vendor: Vendor):
    vendor.ingest()
    vendor.orders(JAN[0], order(JAN[0], 7, "99"))
    vendor.server.requests.clear()
    assert vendor.ingest().ok
    assert dict(vendor.server.statuses) == {200: 1, 304: 1}
    assert [r["price"] for r in vendor.rows()] == [99.0, 10.5, 10.5]
    record = vendor.record()
    assert [(f.carried, f.rows_in) for f in record.files] == [(False, 1), (True, 2)]
    assert record.rows_in == 1, "what this landing has read"


def test_a_bad_new_edition_leaves_the_old_rows(vendor: Vendor):
    vendor.ingest()
    before = vendor.contents()
    vendor.put(JAN[0], packed(b"bad"))
    assert not vendor.ingest().ok
    assert vendor.contents() == before
    record = vendor.record()
    assert [(f.outcome, f.carried) for f in record.files] == [
        ("quarantined", False), ("landed", True), ("landed", True),
    ]  # fmt: skip
    assert record.covered == [["2024-01-01T00:00:00", "2024-01-03T00:00:00"]]
    vendor.server.requests.clear()
    assert vendor.ingest().known_bad == 1
    assert dict(vendor.server.statuses) == {304: 2}
    vendor.orders(JAN[0])
    assert vendor.ingest().ok
    assert [f.outcome for f in vendor.record().files] == ["landed", "landed"]


def test_the_same_bytes_under_another_etag_are_no_new_edition(vendor: Vendor):
    path = vendor.orders(JAN[0])
    vendor.ingest(last=JAN[0])
    written = vendor.record().landed_at
    vendor.server.always[path] = faults.status(
        200, {"ETag": '"renewed"'}, vendor.server.replaced[path]
    )
    assert vendor.ingest(last=JAN[0]).ok
    record = vendor.record()
    assert (record.files[0].etag, record.files[0].carried) == ("renewed", True)
    assert record.landed_at > written
    assert record.rows_out == 2


def test_the_order_of_landing_leaves_no_trace(vendor: Vendor, tmp_path: Path, prepared: Path):
    for day in JAN[2:6]:
        vendor.orders(day)
    for days in ((4, 4), (0, 1), (5, 5), (0, 5)):
        assert vendor.ingest(JAN[days[0]], JAN[days[1]]).ok
    record = vendor.record()
    assert (record.first_day, record.last_day, record.rows_out) == ("2024-01-01", "2024-01-06", 12)
    pieces = vendor.contents()
    shutil.copytree(prepared, tmp_path / "other")
    vendor.config = replace(vendor.config, lake=tmp_path / "other")
    assert vendor.ingest(last=JAN[5]).ok
    assert vendor.contents() == pieces


def test_days_not_asked_for_stay_on_record(vendor: Vendor):
    vendor.ingest(last=JAN[2])
    vendor.orders(JAN[4])
    vendor.ingest(JAN[4], JAN[4])
    record = vendor.record()
    assert [(f.period[-2:], f.outcome) for f in record.files] == [
        ("01", "landed"), ("02", "landed"), ("03", "absent_upstream"), ("05", "landed"),
    ]  # fmt: skip
    assert record.covered == [
        ["2024-01-01T00:00:00", "2024-01-03T00:00:00"],
        ["2024-01-05T00:00:00", "2024-01-06T00:00:00"],
    ]
    assert len(vendor.rows()) == 6


def test_a_damaged_partition_is_landed_again_with_all_its_days(vendor: Vendor):
    vendor.ingest()
    before = vendor.contents()
    path = vendor.lake.partition_of(vendor.record())
    path.write_bytes(path.read_bytes()[:-10])
    assert vendor.ingest(JAN[1], JAN[1]).ok
    assert vendor.contents() == before
    path.unlink()
    vendor.server.always[DayFile("liquidations", "BTCUSDT", JAN[0]).key] = faults.status(403)
    assert not vendor.ingest().ok
    assert vendor.record().covered == [["2024-01-02T00:00:00", "2024-01-03T00:00:00"]]
    assert len(vendor.rows()) == 2


def test_a_newer_parser_reads_all_days_again(vendor: Vendor, monkeypatch):
    vendor.ingest()
    monkeypatch.setattr("ingest.tardis.PARSER_VERSION", 2)
    vendor.server.always[DayFile("liquidations", "BTCUSDT", JAN[0]).key] = faults.status(403)
    vendor.server.requests.clear()
    assert not vendor.ingest(JAN[1], JAN[1]).ok
    assert dict(vendor.server.statuses) == {200: 1, 403: 1}
    record = vendor.record()
    assert (record.parser_version, record.rows_out) == (1, 4), "a day is of the older parser"


# ------------------------------------------------------------------------------------- the key
def test_without_a_key_only_first_days_land_and_the_others_are_not_asked_for_long(
    tmp_path: Path, prepared: Path, vendor: Vendor
):
    vendor.server._key = SECRET
    vendor.orders(date(2024, 2, 1))
    summary = vendor.ingest(last=date(2024, 2, 29))
    assert summary.files == {"landed": 2, "failed": 58}
    assert summary.problems == [
        "failed: liquidations BTCUSDT: HTTP 401: only first days of months are free; for others "
        "set TARDIS_API_KEY"
    ]
    assert vendor.server.statuses[401] <= 2 * vendor.options.connections
    assert vendor.record().covered == [["2024-01-01T00:00:00", "2024-01-02T00:00:00"]]
    (second,) = (f for f in vendor.record().files if f.period == "2024-01-02")
    assert second.outcome == "failed"
    assert second.url.endswith("/liquidations/2024/01/02/BTCUSDT.csv.gz")


def test_the_key_opens_other_days_and_is_seen_nowhere(vendor: Vendor, tmp_path: Path):
    vendor.server._key = SECRET
    bad = vendor.put(JAN[2], packed(b"bad"))
    vendor.put(JAN[3], EMPTY)
    vendor.server.faults[bad] = [faults.status(500)]
    vendor.server.always[DayFile("liquidations", "BTCUSDT", JAN[3]).key] = faults.status(
        302, {"Location": "https://elsewhere.example/"}
    )
    result = perp(vendor, "-v", "ingest", "tardis", *RANGE, TARDIS_API_KEY=SECRET)
    assert result.returncode == 1
    assert "1 quarantined, 1 failed" in result.stdout
    assert len(vendor.rows()) == 4
    shown = perp(vendor, "status")
    refused = perp(vendor, "ingest", "tardis", *RANGE, TARDIS_API_KEY=SECRET[:-1])
    assert "the key in TARDIS_API_KEY does not open this file" in refused.stdout
    output = "".join(r.stdout + r.stderr for r in (result, shown, refused))
    part = SECRET[3:-1]
    assert part not in output
    for path in vendor.config.lake.rglob("*"):
        assert part not in path.name
        assert path.is_dir() or part.encode() not in path.read_bytes()


def test_the_key_goes_to_the_vendor_and_to_this_machine_only(monkeypatch):
    monkeypatch.setenv("TARDIS_API_KEY", SECRET)
    for url, is_sent in (
        ("https://datasets.tardis.dev", True),
        ("http://127.0.0.1:80", True),
        ("https://mirror.example", False),
        ("https://datasets.tardis.dev.example", False),
    ):
        client = TardisClient(url)
        assert ("Authorization" in client.client.headers) == is_sent, url
        assert SECRET not in repr(client.client.headers)
    assert (
        client.refusal(401)
        == "the key in TARDIS_API_KEY is not sent to datasets.tardis.dev.example"
    )


@pytest.mark.parametrize("key", ["two words", "line\nend", "schlüssel"])
def test_a_key_that_is_none_is_refused_and_not_shown(vendor: Vendor, monkeypatch, key):
    monkeypatch.setenv("TARDIS_API_KEY", key)
    with pytest.raises(UsageError, match="TARDIS_API_KEY holds characters that no key has") as info:
        vendor.ingest()
    assert key not in str(info.value)


# --------------------------------------------------------------------------------------- folders
def test_a_folder_of_both_layouts_lands_and_its_files_stay(vendor: Vendor, tmp_path: Path, capfd):
    folder = tmp_path / "downloads"
    files = {
        "binance-futures_liquidations_2024-01-01_BTCUSDT.csv.gz": packed(csv(order(JAN[0], 1))),
        "deep/down/binance-futures_liquidations_2024-01-02_PERPETUALS.csv.gz": EMPTY,
        "v1/binance-futures/liquidations/2024/01/02/BTCUSDT.csv.gz": packed(csv(order(JAN[1], 1))),
        "binance-futures/derivative_ticker/2024/01/01/BTCUSDT.csv.gz": packed(
            csv(tick(JAN[0], 1), header=TICKER)
        ),
        "binance-futures_liquidations_2024-01-03_BTCUSDT.csv.gz": b"<html>",
        # left alone:
        "twice/binance-futures_liquidations_2024-01-01_BTCUSDT.csv.gz": EMPTY,
        "binance-futures_trades_2024-01-01_BTCUSDT.csv.gz": EMPTY,
        "binance-futures_liquidations_2024-13-01_BTCUSDT.csv.gz": EMPTY,
        "binance-futures_liquidations_2024-01-01_BTC USDT.csv.gz": EMPTY,
        "binance-futures_liquidations_2024-01-01_BTCUSDT.csv": b"",
        "bybit/liquidations/2024/01/01/BTCUSDT.csv.gz": EMPTY,
        "binance-futures_liquidations_2024-02-01_BTCUSDT.csv.gz": EMPTY,
    }
    for name, body in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
    both = ("liquidations", "derivative_ticker")
    summary = vendor.ingest(last=JAN[30], symbols=None, datasets=both, path=folder)
    assert f"{folder}: 5 day files to land, 7 other files are left alone" in capfd.readouterr().err
    assert summary.files == {"landed": 4, "quarantined": 1}
    assert len(vendor.rows()) == 2
    assert vendor.rows(symbol="_market") == []
    assert len(vendor.rows(dataset="derivative_ticker")) == 1
    assert vendor.server.requests == []
    assert {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()} == set(
        files
    )
    bad = folder / "binance-futures_liquidations_2024-01-03_BTCUSDT.csv.gz"
    assert vendor.record().files[-1].url == bad.as_uri()
    assert list(vendor.lake.quarantine.rglob("*.gz")) == []

    again = vendor.ingest(last=JAN[30], symbols=None, datasets=both, path=folder)
    assert (again.up_to_date, again.known_bad, again.files) == (3, 1, {})
    one = folder / "binance-futures_liquidations_2024-01-01_BTCUSDT.csv.gz"
    one.write_bytes(packed(csv(order(JAN[0], 1, "77"))))
    assert vendor.ingest(last=JAN[30], path=folder).files == {"landed": 1}
    assert vendor.rows()[0]["price"] == 77.0


def test_a_folder_and_the_server_add_up(vendor: Vendor, tmp_path: Path):
    """The same bytes are the same edition, wherever they come from."""
    vendor.ingest(last=JAN[0])
    for day, body in (
        (JAN[0], vendor.server.replaced[DayFile("liquidations", "BTCUSDT", JAN[0]).key]),
        (JAN[1], vendor.server.replaced[DayFile("liquidations", "BTCUSDT", JAN[1]).key]),
        (JAN[2], packed(csv(order(JAN[2], 1)))),
    ):
        (tmp_path / DayFile("liquidations", "BTCUSDT", day).name).write_bytes(body)
    vendor.server.requests.clear()
    assert vendor.ingest(last=JAN[30], path=tmp_path).files == {"landed": 2}
    assert vendor.server.requests == []
    assert vendor.record().covered == [["2024-01-01T00:00:00", "2024-01-04T00:00:00"]]
    again = vendor.ingest(last=JAN[1])
    assert (again.files, again.ok) == ({}, True)
    assert dict(vendor.server.statuses) == {304: 1, 200: 1}, "the ETag of the second was not known"
    vendor.ingest(last=JAN[1])
    assert dict(vendor.server.statuses) == {304: 3, 200: 1}
    assert len(vendor.rows()) == 5


def test_a_folder_that_is_none_is_refused(vendor: Vendor, tmp_path: Path):
    with pytest.raises(UsageError, match="is not a folder"):
        vendor.ingest(path=tmp_path / "nowhere")


# ---------------------------------------------------------------------------- killed, interrupted
RANGE = ("--symbols", "BTCUSDT", "--start", "2024-01-01", "--end", "2024-01-04",
         "--datasets", "liquidations", "--attempts", "2", "--connections", "1")  # fmt: skip


def environment(vendor: Vendor, **env: str) -> dict[str, str]:
    paths = {"PERP_LAKE": str(vendor.config.lake), "PERP_TARDIS_URL": vendor.server.url}
    return {**os.environ, **paths, **env}


def perp(vendor: Vendor, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PERP, *args], env=environment(vendor, **env), capture_output=True, text=True, check=False
    )


def many_orders(vendor: Vendor) -> None:
    """Four days that take a while: they trickle, and have rows enough to be seen at work."""
    for day in JAN[:4]:
        path = vendor.orders(day, *(order(day, s * 4, f"{s % 97}.5") for s in range(20_000)))
        vendor.server.always[path] = faults.trickle(20_000, 0.02)


POINTS = {
    "in a download": lambda lake: any(lake.glob("_tmp/**/*.part")),
    "with days decoded": lambda lake: len(list(lake.glob("_tmp/**/*.json"))) >= 2,
    "between commit and log": lambda lake: any(lake.glob("tardis/*/*USDT/*/data.parquet")),
}


def test_killed_anywhere_it_resumes_to_the_same_lake(
    vendor: Vendor, tmp_path: Path, prepared: Path
):
    many_orders(vendor)
    vendor.ingest(last=JAN[3])
    expected = vendor.contents()
    for point, reached in POINTS.items():
        lake = tmp_path / point.replace(" ", "_")
        shutil.copytree(prepared, lake)
        vendor.config = replace(vendor.config, lake=lake)
        process = subprocess.Popen(
            [PERP, "ingest", "tardis", *RANGE], env=environment(vendor),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        deadline = time.monotonic() + 60
        while not reached(lake):
            assert process.poll() is None, f"{point}: it ended before the point was reached"
            assert time.monotonic() < deadline, point
        process.send_signal(signal.SIGKILL)
        process.wait()

        for path in lake.glob("tardis/*/symbol=*/month=*/data.parquet"):
            pq.ParquetFile(path).read()  # whatever is visible is whole
        decoded = len(list(lake.glob("_tmp/**/*.json")))
        vendor.server.requests.clear()
        assert vendor.ingest(last=JAN[3]).ok, point
        assert vendor.server.statuses[304] >= decoded, f"{point}: not fetched again"
        assert vendor.contents() == expected, point
        assert vendor.ingest(last=JAN[3]).up_to_date == 1, point
        assert not list(lake.rglob("*.tmp")), point
        assert not list((lake / "_tmp").rglob("*.*")), point


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_cleanly_and_says_how_to_go_on(vendor: Vendor, number):
    many_orders(vendor)
    process = subprocess.Popen(
        [PERP, "ingest", "tardis", *RANGE], env=environment(vendor),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while not any(vendor.config.lake.glob("_tmp/**/*.part")):
        assert process.poll() is None
    process.send_signal(number)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130, stderr
    assert "run the same command again to go on" in stderr
    assert "Traceback" not in stderr
    vendor.server.always.clear()
    assert vendor.ingest(last=JAN[3]).ok


# ------------------------------------------------------------------------------- the command line
def test_the_command_lands_reports_and_plans(vendor: Vendor):
    planned = perp(vendor, "ingest", "tardis", *RANGE, "--dry-run")
    assert "4 day files in 1 partitions to look at; 0 of them have landed" in planned.stdout
    assert vendor.server.requests == []
    done = perp(vendor, "ingest", "tardis", *RANGE)
    assert done.returncode == 0, done.stderr
    assert "partitions: 1 landed" in done.stdout
    assert "files: 2 read" in done.stdout
    planned = perp(vendor, "ingest", "tardis", *RANGE, "--dry-run", "--json")
    assert '"on record": 2' in planned.stdout
    assert "tardis" in perp(vendor, "status").stdout
    help_ = " ".join(perp(vendor, "ingest", "tardis", "--help").stdout.split())
    assert "The first day of each month is free" in help_
    assert "TARDIS_API_KEY" in help_


ARGUMENTS = {
    "dataset": (["--datasets", "trades"], "no dataset 'trades'; choose from liquidations, deriv"),
    "symbol": (["--symbols", "../x"], "'../x' is not a symbol"),
    "no symbol": (["--symbols", ","], "--symbols is empty"),
    "folder": (["--path", "nowhere"], "--path nowhere is not a folder"),
    "address": (["--tardis-url", "http://datasets.tardis.dev"], "is not encrypted"),
}


@pytest.mark.parametrize("case", ARGUMENTS)
def test_bad_arguments_are_one_line_and_exit_2(vendor: Vendor, case):
    args, message = ARGUMENTS[case]
    result = perp(vendor, "ingest", "tardis", *args)
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert message in result.stderr
