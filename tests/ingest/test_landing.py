"""Landing over real HTTP: the main path, idempotence, replacement, repair, and every fault."""

from __future__ import annotations

import http.server
import threading
from datetime import date

import pyarrow.parquet as pq
import pytest

from ingest.config import Config
from ingest.datasets import SOURCES, VISION
from ingest.errors import PerpError
from ingest.failures import failures
from ingest.run import Summary
from ingest.sandbox import server as faults
from tests.ingest.conftest import Archive, hour_bars, key
from tests.mirror import put_checksum

BTC = key("BTCUSDT", "2024-01")


def test_a_month_lands_and_a_second_run_downloads_nothing(archive: Archive):
    summary = archive.ingest()
    assert (summary.ok, dict(summary.partitions)) == (True, {"landed": 2})
    record = archive.record()
    assert (record.rows_in, record.rows_out, record.gaps) == (744, 744, 0)
    (file,) = record.files
    assert file.sha256_expected == file.sha256_actual
    assert file.etag
    assert file.last_modified
    assert file.url.endswith(BTC)
    path = archive.lake.partition(VISION["klines_1h"], "BTCUSDT", "2024-01")
    assert pq.read_metadata(path).num_rows == 744

    before, asked = archive.contents(), len(archive.server.downloads)
    again = archive.ingest()
    assert len(archive.server.downloads) == asked
    assert (again.up_to_date, dict(again.partitions)) == (2, {})
    assert archive.contents() == before
    assert list(archive.lake.tmp.rglob("*.zip")) == []


def test_nothing_listed_is_a_fact(archive: Archive):
    archive.ingest(symbols=["NEWUSDT"])
    assert archive.record("NEWUSDT").status == "absent_upstream"
    lines = len(list(archive.lake.history("vision")))
    archive.ingest(symbols=["NEWUSDT"])
    assert len(list(archive.lake.history("vision"))) == lines, "recorded once"


def test_a_file_that_is_listed_but_gone_is_a_fact(archive: Archive):
    archive.server.always[BTC] = faults.status(404)
    summary = archive.ingest()
    assert summary.ok
    record = archive.record()
    assert (record.status, record.files[0].error) == ("absent_upstream", "HTTP 404")
    assert archive.record("ETHUSDT").status == "landed"


def test_days_that_a_month_lacks_come_from_daily_files(archive: Archive):
    archive.put_month("BTCUSDT", "2024-01", skip=(16, 19))
    archive.put("BTCUSDT", "2024-01-15", hour_bars(date(2024, 1, 15)))
    archive.put("BTCUSDT", "2024-01-16", hour_bars(date(2024, 1, 16)))
    archive.ingest(symbols=["BTCUSDT"])
    record = archive.record()
    assert record.deficient_days == ["2024-01-16", "2024-01-19"]
    assert record.rows_out == 744 - 24
    assert key("BTCUSDT", "2024-01-15") not in archive.server.downloads

    archive.put("BTCUSDT", "2024-01-19", hour_bars(date(2024, 1, 19)))
    archive.ingest(symbols=["BTCUSDT"])
    assert archive.record().rows_out == 744
    assert archive.server.downloads.count(key("BTCUSDT", "2024-01-16")) == 1, "not read again"


def test_the_current_month_grows_day_by_day_then_is_replaced_by_its_month(archive: Archive):
    for day in (1, 2):
        archive.put("BTCUSDT", f"2024-02-{day:02d}", hour_bars(date(2024, 2, day)))
    archive.ingest(symbols=["BTCUSDT"], start="2024-02-01", end="2024-02-02")
    assert archive.record(month="2024-02").rows_out == 48
    archive.put("BTCUSDT", "2024-02-03", hour_bars(date(2024, 2, 3)))
    asked = len(archive.server.downloads)
    archive.ingest(symbols=["BTCUSDT"], start="2024-02-03", end="2024-02-10")
    assert archive.server.downloads[asked:] == [key("BTCUSDT", "2024-02-03")]
    record = archive.record(month="2024-02")
    assert record.rows_out == 72
    assert (record.first_day, record.last_day) == ("2024-02-01", "2024-02-10")
    assert [f.carried for f in record.files] == [True, True, False]

    archive.put(
        "BTCUSDT", "2024-02", [x for d in range(1, 30) for x in hour_bars(date(2024, 2, d))]
    )
    archive.ingest(symbols=["BTCUSDT"], start="2024-02-01", end="2024-02-29")
    record = archive.record(month="2024-02")
    assert record.rows_out == 29 * 24
    assert [f.period for f in record.files] == ["2024-02"]


def test_the_order_of_landing_leaves_no_trace(archive: Archive, tmp_path):
    """Months and symbols in any order, in pieces or at once: the same bytes."""
    for month in ("2024-02", "2024-03"):
        first = date.fromisoformat(f"{month}-01")
        for symbol in ("BTCUSDT", "ETHUSDT"):
            days = [date(2024, first.month, d) for d in range(1, 29)]
            archive.put(symbol, month, [x for d in days for x in hour_bars(d)])
            late = date(2024, first.month, 29)
            archive.put(symbol, late.isoformat(), hour_bars(late))
    archive.ingest(symbols=["ETHUSDT"], start="2024-03-05", end="2024-03-20")
    archive.ingest(symbols=["ETHUSDT", "BTCUSDT"], start="2024-01-15", end="2024-02-10")
    archive.ingest(start="2024-01-01", end="2024-03-31")
    pieces = archive.contents()
    archive.config = Config(
        tmp_path / "other", archive.config.warehouse, archive.config.archive_url,
        archive.config.listing_url,
    )  # fmt: skip
    archive.ingest(start="2024-01-01", end="2024-03-31")
    assert archive.contents() == pieces
    assert len(pieces) == 2 * 3 + sum(len(datasets) for datasets in SOURCES.values())


def test_a_replaced_file_is_landed_again_and_both_editions_are_on_record(archive: Archive):
    archive.ingest()
    first = archive.record().files[0].sha256_actual
    lines = [x for d in range(1, 32) for x in hour_bars(date(2024, 1, d), close=10.5)]
    archive.put("BTCUSDT", "2024-01", lines)
    summary = archive.ingest()
    assert dict(summary.partitions) == {"landed": 1}
    editions = [
        f.sha256_actual
        for r in archive.lake.history("vision")
        if r.symbol == "BTCUSDT"
        for f in r.files
    ]
    assert len(set(editions)) == 2
    assert editions[0] == first
    path = archive.lake.partition(VISION["klines_1h"], "BTCUSDT", "2024-01")
    assert set(pq.ParquetFile(path).read()["close"].to_pylist()) == {10.5}


def test_a_replacement_that_is_corrupt_leaves_the_landed_data(archive: Archive):
    archive.ingest()
    before = archive.contents()
    path = archive.root / BTC
    path.write_bytes(b"<html>")
    put_checksum(path)
    summary = archive.ingest()
    assert not summary.ok
    record = archive.record()
    assert record.status == "quarantined"
    assert record.rows_out == 744
    assert {f.outcome for f in record.files} == {"quarantined", "landed"}
    assert archive.contents() == before
    asked = len(archive.server.downloads)
    assert archive.ingest().known_bad == 1
    assert len(archive.server.downloads) == asked


def test_a_bad_daily_file_is_carried_along_until_upstream_replaces_it(archive: Archive):
    def on(day: int) -> Summary:
        archive.put("BTCUSDT", f"2024-02-{day:02d}", hour_bars(date(2024, 2, day)))
        return archive.ingest(symbols=["BTCUSDT"], start="2024-02-01", end=f"2024-02-{day:02d}")

    def outcomes() -> list[tuple[str, bool]]:
        return [(f.outcome, f.carried) for f in archive.record(month="2024-02").files]

    bad = archive.put("BTCUSDT", "2024-02-01", hour_bars(date(2024, 2, 1)))
    bad.write_bytes(b"<html>")
    put_checksum(bad)
    first = on(2)
    assert (len(first.problems), first.known_bad) == (1, 0)
    assert outcomes() == [("quarantined", False), ("landed", False)]

    for day in (3, 4):
        asked = len(archive.server.downloads)
        later = on(day)
        assert archive.server.downloads[asked:] == [key("BTCUSDT", f"2024-02-{day:02d}")]
        assert (later.problems, later.known_bad, later.files["quarantined"]) == ([], 1, 0)
        assert outcomes() == [
            ("quarantined", True),
            *[("landed", True)] * (day - 2),
            ("landed", False),
        ]
        assert [f.period for f in failures(archive.lake)] == ["2024-02-01"]

    archive.server.always[key("BTCUSDT", "2024-02-05")] = faults.status(404)
    assert on(5).ok
    assert archive.record(month="2024-02").status == "quarantined", "of what is not landed"
    assert outcomes()[0] == ("quarantined", True)

    archive.put("BTCUSDT", "2024-02-01", hour_bars(date(2024, 2, 1)))
    assert on(6).ok
    assert archive.record(month="2024-02").rows_out == 5 * 24
    assert list(failures(archive.lake)) == []


def test_a_bad_monthly_file_is_carried_along_while_daily_files_come(archive: Archive):
    month = archive.put_month("BTCUSDT", "2024-01")
    month.write_bytes(b"<html>")
    put_checksum(month)
    for day in (1, 2, 3):
        archive.put("BTCUSDT", f"2024-01-{day:02d}", hour_bars(date(2024, 1, day)))
        summary = archive.ingest(symbols=["BTCUSDT"])
        assert (len(summary.problems), summary.known_bad) == ((1, 0) if day == 1 else (0, 1))
    assert archive.server.downloads.count(BTC) == 1
    assert archive.record().rows_out == 72
    archive.put_month("BTCUSDT", "2024-01")
    assert archive.ingest(symbols=["BTCUSDT"]).ok
    assert [f.period for f in archive.record().files] == ["2024-01"]


def test_a_missing_sidecar_is_no_obstacle_and_on_record(archive: Archive):
    (archive.root / f"{BTC}.CHECKSUM").unlink()
    archive.server.refresh()
    assert archive.ingest().ok
    (file,) = archive.record().files
    assert file.sha256_expected is None
    assert file.sha256_actual


SIDECARS = {
    "stale": ("0" * 64 + "  file.zip", "its .CHECKSUM says 0000"),
    "malformed": ("<html>not here</html>", "its .CHECKSUM is malformed"),
}


@pytest.mark.parametrize("case", SIDECARS)
def test_a_bad_sidecar_quarantines_until_it_is_mended(archive: Archive, case):
    text, message = SIDECARS[case]
    sidecar = archive.root / f"{BTC}.CHECKSUM"
    sidecar.write_text(text)
    summary = archive.ingest()
    assert not summary.ok
    assert message in summary.problems[0]
    assert archive.record().status == "quarantined"
    assert archive.record("ETHUSDT").status == "landed"
    assert "symbol=BTCUSDT" not in str(archive.contents())
    asked = len(archive.server.downloads)
    archive.ingest()
    assert len(archive.server.downloads) == asked, "a known bad file is not fetched again"
    put_checksum(archive.root / BTC)
    assert archive.ingest().ok
    assert archive.record().status == "landed"


def test_a_sidecar_under_another_name_counts_if_the_sum_fits(archive: Archive):
    sidecar = archive.root / f"{BTC}.CHECKSUM"
    sidecar.write_text(sidecar.read_text().replace("BTCUSDT", "XBTUSD"))
    assert archive.ingest().ok


def test_a_quarantined_zip_is_kept_for_inspection(archive: Archive):
    path = archive.root / BTC
    path.write_bytes(path.read_bytes()[:-20])
    put_checksum(path)
    summary = archive.ingest()
    assert "damaged zip" in summary.problems[0]
    kept = archive.lake.quarantine / BTC
    assert kept.read_bytes() == path.read_bytes()
    assert str(kept) in summary.problems[0]


PASSING = {
    "503 once": [faults.status(503)],
    "429 with Retry-After": [faults.status(429, {"Retry-After": "0"})],
    "429 with a date": [faults.status(429, {"Retry-After": "Mon, 01 Jan 2024 00:00:00 GMT"})],
    "reset before the body": [faults.reset()],
    "reset in the body, resumed": [faults.reset(2000)],
    "short body, resumed": [faults.short_body(1000)],
    "file replaced while resuming": [faults.short_body(1000), faults.new_etag("other")],
    "longer than announced": [faults.long_body(100)],
    "slow": [faults.trickle(4000, 0.01)],
}


@pytest.mark.parametrize("case", PASSING)
def test_a_passing_fault_is_outlived(archive: Archive, case):
    archive.server.faults[BTC] = list(PASSING[case])
    summary = archive.ingest()
    assert summary.ok, summary.problems
    assert archive.record().rows_out == 744
    assert archive.server.faults[BTC] == []


def test_an_interrupted_body_is_resumed_where_it_stopped(archive: Archive):
    archive.server.faults[BTC] = [faults.short_body(1000)]
    archive.ingest()
    ranges = [r.range for r in archive.server.requests if r.path == BTC]
    assert ranges == [None, "bytes=1000-"]


def test_an_unfinished_download_is_resumed_by_the_next_run(archive: Archive):
    archive.server.faults[BTC] = [faults.short_body(1000), faults.short_body(500), faults.reset()]
    assert not archive.ingest(symbols=["BTCUSDT"]).ok
    assert archive.ingest(symbols=["BTCUSDT"]).ok
    ranges = [r.range for r in archive.server.requests if r.path == BTC]
    assert ranges == [None, "bytes=1000-", "bytes=1500-", "bytes=1500-"]
    assert list(archive.lake.tmp.rglob("*.zip*")) == []


LASTING = {
    "503": (faults.status(503), "failed", "HTTP 503 (3 attempts)"),
    "429": (faults.status(429, {"Retry-After": "0"}), "failed", "HTTP 429 (3 attempts)"),
    "403": (faults.status(403), "failed", "HTTP 403: access denied"),
    "418": (faults.status(418), "failed", "HTTP 418: this address is banned for a while"),
    "451": (faults.status(451), "failed", "HTTP 451: not offered in this country"),
    "redirect": (
        faults.status(301, {"Location": "https://elsewhere.example/x.zip"}),
        "failed",
        "a redirect to https://elsewhere.example/x.zip is refused",
    ),
    "reset": (faults.reset(), "failed", "(3 attempts)"),
    "short body": (faults.short_body(0), "failed", "(3 attempts)"),
    "HTML instead of a zip": (
        faults.replaced_body(b"<!DOCTYPE html><html>Sorry</html>"),
        "quarantined",
        "sha256 is",
    ),
}


@pytest.mark.parametrize("case", LASTING)
def test_a_lasting_fault_is_a_clear_failure_and_the_rest_lands(archive: Archive, case):
    fault, outcome, message = LASTING[case]
    archive.server.always[BTC] = fault
    summary = archive.ingest()
    assert not summary.ok
    assert f"{outcome}: {BTC}: " in summary.problems[0]
    assert message in summary.problems[0]
    assert archive.record().status == outcome
    assert archive.record("ETHUSDT").status == "landed"
    assert "symbol=BTCUSDT" not in str(archive.contents())
    archive.server.always.clear()
    archive.options = archive.options.__class__(
        **{**archive.options.__dict__, "retry_quarantined": True}
    )
    assert archive.ingest().ok
    assert archive.record().status == "landed"


def test_html_without_a_sidecar_is_not_taken_for_a_zip(archive: Archive):
    (archive.root / f"{BTC}.CHECKSUM").unlink()
    archive.server.refresh()
    archive.server.always[BTC] = faults.replaced_body(b"<!DOCTYPE html><html>Sorry</html>")
    summary = archive.ingest()
    assert "not a zip file: it begins with '<!DOCTYPE html>" in summary.problems[0]


def test_a_damaged_partition_is_landed_again(archive: Archive):
    archive.ingest()
    before = archive.contents()
    path = archive.lake.partition(VISION["klines_1h"], "BTCUSDT", "2024-01")
    path.write_bytes(path.read_bytes()[:-100])
    archive.ingest()
    assert archive.contents() == before
    path.unlink()
    archive.ingest()
    assert archive.contents() == before


def test_a_prefix_of_another_symbol_is_not_its_file(archive: Archive):
    archive.put_month("BTCUSDT_240329", "2024-01")
    archive.put_month("BTCUSDTSETTLED", "2024-01")
    archive.ingest(symbols=["BTCUSDT", "BTCUSDT_240329", "BTCUSDTSETTLED"])
    for symbol in ("BTCUSDT", "BTCUSDT_240329", "BTCUSDTSETTLED"):
        (file,) = archive.record(symbol).files
        assert file.url.endswith(f"/{symbol}-1h-2024-01.zip")


def test_a_symbol_of_another_script_lands(archive: Archive):
    archive.put_month("龙虾USDT", "2024-01")
    assert archive.ingest(symbols=["龙虾USDT"]).ok
    assert archive.record("龙虾USDT").rows_out == 744


def test_dry_run_lands_nothing(archive: Archive):
    plan, _ = archive.plan_and_ingest(["BTCUSDT"], "2024-01-01", "2024-01-31", dry_run=True)
    assert len(plan.tasks) == 1
    assert archive.server.downloads == []
    assert archive.lake.state("vision") == {}


def test_a_disk_that_is_full_stops_the_run_and_says_so(archive: Archive, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    archive.lake.prepare("sandbox")
    monkeypatch.setattr("os.replace", full)
    with pytest.raises(
        PerpError, match=r"no space left for the lake .* run the same command again"
    ):
        archive.ingest()
    monkeypatch.undo()
    assert archive.ingest().ok


LISTINGS = {
    "html": (b"<html>Hello</html>", "did not answer with an S3 listing"),
    "doctype": (b'<!DOCTYPE x [<!ENTITY a "b">]><ListBucketResult/>', "did not answer with an S3"),
    "cut": (b"<?xml version='1.0'?><ListBucketResult", "malformed listing"),
    "empty": (b"", "malformed listing"),
}


@pytest.mark.parametrize("case", LISTINGS)
def test_a_listing_that_is_none_is_an_error(archive: Archive, case):
    body, message = LISTINGS[case]
    archive.server.always["listing"] = faults.replaced_body(body)
    with pytest.raises(PerpError, match=message):
        archive.ingest()


def test_an_archive_that_cannot_be_reached_is_an_error(archive: Archive):
    nowhere = "http://127.0.0.1:9"
    archive.config = Config(archive.config.lake, archive.config.warehouse, nowhere, nowhere)
    with pytest.raises(PerpError, match=r"cannot list http://127.0.0.1:9.*check the connection"):
        archive.ingest()


def test_a_listing_that_does_not_advance_ends(archive: Archive):
    class Stuck(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = (
                b'<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
                b"<IsTruncated>true</IsTruncated></ListBucketResult>"
            )
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Stuck) as stuck:
        threading.Thread(target=stuck.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{stuck.server_address[1]}"
        archive.config = Config(archive.config.lake, archive.config.warehouse, url, url)
        with pytest.raises(PerpError, match="does not advance"):
            archive.ingest()
        stuck.shutdown()
