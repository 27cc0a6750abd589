"""perp retry: exactly what went wrong is tried again, and what stood stays until then."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from datetime import date
from pathlib import Path

from ingest.failures import failures
from ingest.lake import Lake, LandingLog, LandingRecord
from ingest.retry import retry, to_retry
from ingest.run import Options, ingest_archive
from ingest.sandbox import server as faults
from ingest.sources.downloads import Retry
from ingest.sources.tardis import DayFile
from tests.ingest.conftest import hour_bars, key
from tests.ingest.test_api_pull import SYMBOLS, Exchange, exchange
from tests.ingest.test_tardis import JAN, Vendor, csv, order, packed, prepared, vendor
from tests.mirror import put_checksum
from tests.operations.conftest import Archive, Perp

__all__ = ["exchange", "prepared", "vendor"]

QUICK = Retry(attempts=1, base_seconds=0.01)
BTC, ETH = key("BTCUSDT", "2024-01"), key("ETHUSDT", "2024-01")


def environment(archive: Archive) -> dict[str, object]:
    return {
        "PERP_LAKE": archive.config.lake,
        "PERP_ARCHIVE_URL": archive.server.archive_url,
        "PERP_ARCHIVE_LISTING_URL": archive.server.listing_url,
    }


def test_what_failed_is_named_and_tried_again_and_nothing_else(archive: Archive, perp: Perp):
    env = environment(archive)
    archive.options = replace(archive.options, retry=QUICK)
    archive.server.always[BTC] = faults.status(403)
    sidecar = archive.root / f"{ETH}.CHECKSUM"
    sidecar.write_text("0" * 64 + "  x.zip")
    archive.put_month("SOLUSDT", "2024-01")
    archive.put_month("BTCUSDT", "2024-03")  # listed, but nobody has asked for it
    archive.ingest(symbols=["BTCUSDT", "ETHUSDT", "SOLUSDT"])

    code, out, _ = perp("status", "--failed", **env)
    assert code == 0
    assert f"failed: vision/klines_1h BTCUSDT 2024-01\n  {BTC}: HTTP 403: access denied" in out
    assert "quarantined: vision/klines_1h ETHUSDT 2024-01" in out
    assert "perp retry --datasets klines_1h --symbols BTCUSDT" in out
    assert "1 failed, 1 quarantined" in out
    shown = {f["symbol"]: f for f in json.loads(perp("status", "--failed", "--json", **env)[1])}
    assert shown["BTCUSDT"]["outcome"] == "failed"
    kept = archive.lake.quarantine / ETH
    assert shown["ETHUSDT"]["kept"] == str(kept)

    code, out, _ = perp("retry", "--dry-run", **env)
    assert code == 0
    assert out.splitlines()[-1] == "2 partitions to try again"
    asked = len(archive.server.downloads)

    archive.server.always.clear()
    code, out, _ = perp("retry", "--attempts", 1, **env)
    assert code == 1
    assert out.splitlines()[0] == "2 partitions tried again: 1 mended, 1 not"
    assert f"quarantined: klines_1h ETHUSDT 2024-01: {ETH}: sha256 is" in out
    assert set(archive.server.downloads[asked:]) == {BTC, ETH}
    assert kept.exists(), "the old copy stays until a good one has landed"

    put_checksum(archive.root / ETH)
    assert perp("retry", **env)[0] == 0
    assert archive.record("ETHUSDT").status == "landed"
    assert kept.exists()
    code, out, _ = perp("retry", **env)
    assert (code, out) == (0, "0 partitions tried again: 0 mended, 0 not\n")
    assert "nothing failed" in perp("status", "--failed", **env)[1]


def test_the_choice_of_symbols_holds(archive: Archive):
    archive.options = replace(archive.options, retry=QUICK)
    archive.server.always[BTC] = archive.server.always[ETH] = faults.status(403)
    archive.ingest()
    wanted = to_retry(archive.lake, lambda dataset, symbol: symbol == "ETHUSDT")
    archive.server.always.clear()
    result = retry(archive.config, wanted, workers=1, attempts=QUICK)
    assert (result.tried, result.mended, result.ok) == (1, 1, True)
    assert {f.symbol for f in failures(archive.lake)} == {"BTCUSDT"}


def test_days_that_were_not_asked_for_are_not_asked_for_now(archive: Archive):
    """A month without a monthly file: the failed day is fetched, days never asked for are not."""
    days = [f"2024-02-{d:02d}" for d in (1, 2, 3, 4)]
    for day in days:
        archive.put("BTCUSDT", day, hour_bars(date.fromisoformat(day)))
    archive.options = replace(archive.options, retry=QUICK)
    archive.server.always[key("BTCUSDT", days[1])] = faults.status(403)
    archive.ingest(["BTCUSDT"], start=days[0], end=days[2])
    archive.server.always.clear()
    before = len(archive.server.downloads)
    result = retry(archive.config, list(failures(archive.lake)), workers=1, attempts=QUICK)
    assert result.ok, result
    assert archive.server.downloads[before:] == [key("BTCUSDT", days[1])]
    record = archive.record(month="2024-02")
    assert (record.rows_out, record.first_day, record.last_day) == (72, days[0], days[2])


def test_a_damaged_partition_is_landed_again(archive: Archive):
    archive.ingest()
    before = archive.contents()
    path = archive.lake.partition_of(archive.record())
    path.write_bytes(path.read_bytes()[:-5])
    (failure,) = failures(archive.lake)
    assert failure.outcome == "damaged"
    assert retry(archive.config, [failure], workers=1, attempts=QUICK).mended == 1
    assert archive.contents() == before


def test_a_failed_pull_is_asked_for_again_and_no_other_series(exchange: Exchange):
    path = "fapi/v1/fundingRate"
    exchange.server.always[path] = faults.status(500)
    exchange.pull(["funding_rate", "klines_1h"])
    exchange.server.always.clear()
    exchange.server.requests.clear()
    wanted = list(failures(exchange.lake))
    assert {f.key for f in wanted} == {("funding_rate", s, "2024-03") for s in SYMBOLS}
    result = retry(exchange.config, wanted, attempts=QUICK)
    assert (result.ok, result.mended) == (True, 2), result
    assert exchange.asked().keys() == {"time", "exchangeInfo", "fundingRate"}
    assert exchange.record("funding_rate").first_day == "2024-03-11"


def test_of_the_vendor_only_the_bad_days_are_tried_again(vendor: Vendor):
    path = DayFile("liquidations", "BTCUSDT", JAN[1]).key
    vendor.server.always[path] = faults.status(403)
    vendor.ingest()
    vendor.server.always.clear()
    vendor.server.requests.clear()
    (failure,) = failures(vendor.lake)
    assert (failure.period, failure.has_data) == (JAN[1].isoformat(), True)
    assert retry(vendor.config, [failure], attempts=QUICK).ok
    assert [r.path for r in vendor.server.requests] == [path]
    assert vendor.record().rows_out == 4


def test_a_bad_file_of_a_folder_is_read_again_from_there(vendor: Vendor, tmp_path: Path):
    folder = tmp_path / "bought"
    folder.mkdir()
    file = folder / DayFile("liquidations", "BTCUSDT", JAN[0]).name
    file.write_bytes(b"not gzip")
    vendor.ingest(path=folder)
    (failure,) = failures(vendor.lake)
    assert failure.kept == str(file)
    file.write_bytes(packed(csv(order(JAN[0], 60))))
    assert retry(vendor.config, [failure], attempts=QUICK).ok
    file.write_bytes(b"not gzip")
    (tmp_path / "lake" / "tardis/liquidations/symbol=BTCUSDT/month=2024-01/data.parquet").unlink()
    file.unlink()
    (failure,) = failures(vendor.lake)
    result = retry(vendor.config, [failure], attempts=QUICK)
    assert not result.ok
    assert f"the file is gone from {file}" in result.left[0]


def test_what_cannot_be_tried_is_said(tmp_path, perp: Perp):
    code, _, err = perp("retry", "--lake", tmp_path / "no lake")
    assert (code, err.count("\n")) == (2, 1)
    assert "is no lake; start with: perp ingest archive" in err
    code, _, err = perp("retry", "--lake", tmp_path, "--datasets", "nonsense")
    assert code == 2


def test_a_dataset_of_another_version_is_a_message(lake: Lake, perp: Perp):
    with contextlib.closing(LandingLog(lake.log_folder, "vision")) as log:
        log.append(LandingRecord("vision", "klines_1s", "BTCUSDT", "2024-01", "failed"))
    code, _, err = perp("status", "--failed", PERP_LAKE=lake.root)
    assert code == 1
    assert "names the dataset klines_1s (BTCUSDT 2024-01), which this version of perp" in err
    assert "Traceback" not in err


def test_ticks_and_what_is_made_with_them_are_one_partition(archive: Archive):
    """Damage of the trade sizes is mended by landing the ticks again."""
    from tests.ingest.test_several import month_of_ticks
    from tests.mirror import put_zip

    name = "data/futures/um/monthly/aggTrades/BTCUSDT/BTCUSDT-aggTrades-2024-01.zip"
    lines = month_of_ticks(1).splitlines()[:2000]
    put_zip(archive.root, name, b"\n".join(lines))
    archive.server.refresh()
    days = date(2024, 1, 1), date(2024, 1, 31)
    options = Options(workers=1, retry=QUICK)
    ingest_archive(archive.config, ["agg_trades_1m"], ["BTCUSDT"], *days, options)
    state = archive.lake.state("vision")
    path = archive.lake.partition_of(state["agg_trade_sizes_1h", "BTCUSDT", "2024-01"])
    content = path.read_bytes()
    path.unlink()
    (failure,) = failures(archive.lake)
    assert failure.again == "perp retry --datasets agg_trades_1m --symbols BTCUSDT"
    assert retry(archive.config, [failure], workers=1, attempts=QUICK).ok
    assert path.read_bytes() == content
