"""The recorder against a real websocket server: what it keeps, and which time it says it covers."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from ingest.captures import full_symbol, import_captures
from ingest.config import Config
from ingest.datasets import STREAM
from ingest.errors import PerpError
from ingest.journal import Journal, abandoned, read_journal
from ingest.lake import Lake
from ingest.record import RecordingSummary, RecordOptions, record_liquidations, utc_now
from ingest.sandbox.market import simulate
from ingest.sandbox.scenario import CONTRACTS
from ingest.sandbox.stream import (
    COMBINED,
    RAW,
    RETIRED,
    ReplayClock,
    StreamServer,
    force_order,
    market_feed,
)
from ingest.sources.force_order import Malformed, parse_message
from ingest.sources.liquidation_stream import StreamOptions
from ingest.store import lake_path
from tests.ingest.recordings import (
    FIRST,
    config_for,
    covered,
    events,
    inside,
    numbers,
    order,
    record_of,
    send_all,
    wait_for,
)
from tests.mirror import require_real_data
from tests.object_server import BUCKET, LOST, Answer, Asked, ObjectServer

QUICK = StreamOptions(
    max_silence=60, overlap=0.3, ping_interval=0.1, pong_timeout=0.3, first_delay=0.1
)


@pytest.fixture
def server() -> Iterator[StreamServer]:
    with StreamServer() as running:
        yield running


@pytest.fixture
def config(tmp_path: Path, server: StreamServer) -> Config:
    return config_for(tmp_path, server)


def record_while(
    config: Config,
    script: Callable[[], object],
    options: StreamOptions = QUICK,
    *,
    rotate: float = 300,
    clock: Callable[[], datetime] = utc_now,
) -> RecordingSummary:
    """Record in this process while the script runs in a thread."""
    with ThreadPoolExecutor(1) as pool:
        scripted = pool.submit(script)
        recording = RecordOptions(rotate_seconds=rotate, sync_seconds=0.1, stream=options)
        summary = record_liquidations(config, recording, clock=clock, stop=scripted.done)
        scripted.result()
    return summary


def connected(server: StreamServer, clients: int = 1) -> None:
    wait_for(lambda: server.clients >= clients, f"{clients} clients")


def received(config: Config, orders: int) -> None:
    """Wait until so many orders are in the journal."""
    folder = config.lake / "_tmp" / "stream"
    journals = list(folder.glob("*.jsonl"))
    wait_for(
        lambda: sum(j.read_bytes().count(b'{"order"') for j in journals) >= orders,
        f"{orders} orders received",
    )


# ---------------------------------------------------------------------------------- messages
def test_a_message_becomes_a_typed_row():
    message = force_order(
        "龙虾USDT",
        FIRST,
        side="BUY",
        quantity="12.50",
        price="0.0043",
        average="0.0042",
        last="1.5",
    )
    expected = {
        "contract": "龙虾USDT",
        "event_time": datetime(2025, 1, 1, 0, 0, 0, 5000),
        "trade_time": datetime(2025, 1, 1),
        "side": "BUY",
        "order_type": "LIMIT",
        "time_in_force": "IOC",
        "original_quantity": 12.5,
        "price": 0.0043,
        "average_price": 0.0042,
        "order_status": "FILLED",
        "last_fill_quantity": 1.5,
        "accumulated_fill_quantity": 12.5,
    }
    assert parse_message(json.dumps(message)) == expected
    assert parse_message(json.dumps({"stream": "!forceOrder@arr", "data": message})) == expected
    before = {k: v for k, v in message.items() if k not in ("st", "ps")}
    assert parse_message(json.dumps(before)) == expected, "as it was before 2026-06-29"
    within = {**before, "o": {**before["o"], "ps": "龙虾USDT", "st": 1}}
    assert parse_message(json.dumps(within)) == expected


def test_orders_of_the_coin_margined_market_are_left_out():
    message = force_order("BTCUSD_PERP", FIRST, coin_margined=True)
    assert parse_message(json.dumps(message)) is None
    message["o"]["st"] = message.pop("st")
    assert parse_message(json.dumps(message)) is None
    del message["o"]["st"]
    assert parse_message(json.dumps(message)) is None, "its name tells"
    delivery = force_order("BTCUSDT_250328", FIRST)
    assert parse_message(json.dumps(delivery)) is not None


def changed(**fields: object) -> str:
    message = order(0)
    for name, value in fields.items():
        message["o"][name] = value
    return json.dumps(message)


MALFORMED = {
    "": "not JSON",
    "<html>": "not JSON",
    "[" * 100_000: "not JSON",
    "[]": "not a forceOrder",
    "null": "not a forceOrder",
    '{"result":null,"id":1}': "not a forceOrder",
    '{"e":"aggTrade"}': "not a forceOrder",
    '{"stream":"!forceOrder@arr","data":[]}': "not a forceOrder",
    '{"e":"forceOrder","E":1,"o":"x"}': "no order",
    json.dumps({**order(0), "st": 3}): "unknown market",
    json.dumps({**order(0), "E": None}): "E is None",
    changed(s="../BTC"): "s is",
    changed(s=""): "s is",
    changed(s=None): "s is",
    changed(s="btcusdt"): "s is",
    changed(S="HOLD"): "S is",
    changed(q="1_000"): "q is",
    changed(q="-1"): "q is",
    changed(p="nan"): "p is",
    changed(p="1e999"): "p is",
    changed(ap=None): "ap is",
    changed(ap="None"): "ap is",
    changed(l=True): "l is",
    changed(X=None): "X is",
    changed(T="1735689600"): "T is",
    changed(T=999_999_999_999): "T is",
    changed(T=1_000_000_000_000): "T is 1000000000000, which is out of range",
    changed(T=9_999_999_999_999): "out of range",
}


@pytest.mark.parametrize("message", MALFORMED, ids=range(len(MALFORMED)))
def test_what_is_no_order_is_refused_with_its_reason(message):
    with pytest.raises(Malformed, match=re.escape(MALFORMED[message])):
        parse_message(message)


def test_bad_messages_are_counted_and_do_no_harm(config, server, capfd):
    def script() -> None:
        connected(server)
        server.send(order(1))
        for message in MALFORMED:
            server.send(message)
        server.send(b"\xff\xfe\x00")
        server.send(json.dumps(order(2)).encode())  # an order in a binary frame
        server.send(force_order("BTCUSD_PERP", FIRST, coin_margined=True))
        server.send(order(3))

    summary = record_while(config, script)
    assert numbers(config.lake) == [1, 2, 3]
    bad = len(MALFORMED) + 1
    assert (summary.orders, summary.malformed, summary.coin_margined) == (3, bad, 1)
    month = f"{utc_now():%Y-%m}"
    assert record_of(config.lake, month).bad_rows == bad
    said = capfd.readouterr().err
    assert said.count("left out a message") == 5
    assert "not JSON" in said
    assert "<html>" in said
    assert len(said) < 5_000
    assert summary.connections == 1


def test_genuine_orders_are_the_same_by_stream_and_by_import(tmp_path, config, server):
    """Captured lines, put back into messages."""
    folder = require_real_data() / "ws-forceorder-captures" / "BandsThoBaby__Data_Streams_Project"
    captures = folder / "binance.csv"
    lines = [line.split(",") for line in captures.read_text().splitlines()]
    names = ("S", "o", "f", "q", "p", "ap", "X", "l", "z")

    def script() -> None:
        connected(server)
        for symbol, *values, moment, _ in lines:
            message = force_order(full_symbol(symbol), int(moment))
            message["o"] |= dict(zip(names, values, strict=True))
            assert server.send(message)

    record_while(config, script)
    imported = Config(tmp_path / "imported", tmp_path / "w", "http://localhost", "http://localhost")
    import_captures(imported, [captures])
    shared = ["contract", "trade_time", "side", "original_quantity", "price", "average_price",
              "last_fill_quantity", "accumulated_fill_quantity", "order_status"]  # fmt: skip
    recorded = events(config.lake).select(shared).sort(shared)
    assert recorded.height == len(lines) == 456
    assert recorded.equals(events(imported.lake, "import").select(shared).sort(shared))


# ------------------------------------------------------------------------------ a simulated market
def test_ten_simulated_hours_over_a_month_end_are_recorded_whole(tmp_path):
    markets = [simulate(c, datetime(2024, 1, 30), 3) for c in CONTRACTS[:2]]
    start, end = datetime(2024, 1, 31, 18), datetime(2024, 2, 1, 4)
    feed = market_feed(markets, start, end)
    assert len(feed) > 100
    seconds = [(m["o"]["s"], m["o"]["T"] // 1000) for _, m in feed]
    assert len(set(seconds)) == len(seconds), "one order a symbol and second"
    clock = ReplayClock(start, speed=36_000)
    options = StreamOptions(max_leap=timedelta.max)
    with StreamServer(feed, clock=clock) as server:
        config = config_for(tmp_path, server)
        record_liquidations(
            config,
            RecordOptions(rotate_seconds=0.3, stream=options),
            clock=clock.now,
            stop=lambda: clock.now() > end,
        )
        assert server.finished.is_set()
        assert server.lost == 0
    rows = events(config.lake)
    got = rows.select(
        "contract", "side", "original_quantity", "price", "average_price", "last_fill_quantity",
        pl.col("trade_time").dt.epoch("ms"), pl.col("event_time").dt.epoch("ms"),
    )  # fmt: skip
    sent = [
        (o["s"], o["S"], *(float(o[n]) for n in ("q", "p", "ap", "l")), o["T"], m["E"])
        for _, m in feed
        for o in [m["o"]]
    ]
    assert sorted(got.rows()) == sorted(sent)
    [(since, until)] = covered(config.lake)
    assert since == start
    assert until >= end
    january, february = record_of(config.lake, "2024-01"), record_of(config.lake, "2024-02")
    assert january.rows_out + february.rows_out == len(feed)
    assert january.covered[-1][1] == february.covered[0][0] == "2024-02-01T00:00:00"
    assert january.duplicates_dropped + february.duplicates_dropped == 0
    assert set(rows["connection"].str.slice(0, 8)) == {"20240131"}


# ------------------------------------------------------------------------------- connections
def test_after_a_lost_connection_nothing_counts_twice_and_the_hole_shows(config, server):
    missed_at: list[datetime] = []

    def script() -> None:
        connected(server)
        send_all(server, [order(n) for n in range(10)])
        received(config, 10)
        server.repeat = 5
        server.refusals = [(503, None), (503, None)]
        server.drop()
        wait_for(lambda: not server.refusals, "it tries again")
        missed_at.append(utc_now())
        assert server.send(order(10)) == 0
        connected(server)
        send_all(server, [order(n) for n in range(11, 15)])

    summary = record_while(config, script)
    # One of the repeated orders is the one that was missed.
    assert numbers(config.lake) == list(range(15))
    assert (summary.orders, summary.new, summary.duplicates) == (19, 15, 4)
    assert (summary.connections, summary.failures) == (2, 2)
    record = record_of(config.lake, f"{utc_now():%Y-%m}")
    assert (record.rows_in, record.rows_out, record.duplicates_dropped) == (19, 15, 4)
    first, second = covered(config.lake)
    assert first[1] < missed_at[0] < second[0]
    assert all(inside(events(config.lake)["receive_time"], [first, second]))


def test_refusals_are_said_and_waited_out(config, server, capfd):
    server.refusals = [(429, 1), (503, None)]
    begun = time.monotonic()

    def script() -> None:
        connected(server)
        server.send(order(1))

    summary = record_while(config, script)
    assert summary.failures == 2
    assert time.monotonic() - begun >= 1, "Retry-After: 1"
    said = capfd.readouterr().err
    assert "HTTP 429; next try in 1.0 s" in said
    assert "HTTP 503" in said
    assert numbers(config.lake) == [1]


def sending(server: StreamServer, seconds: float, first: int = 0) -> int:
    """Send an order every few milliseconds; all must reach a client. Returns how many."""
    end, number = time.monotonic() + seconds, first
    while time.monotonic() < end:
        assert server.send(order(number))
        number += 1
        time.sleep(0.004)
    return number - first


def test_a_planned_change_of_connections_overlaps_and_leaves_no_hole(config, server):
    sent: list[int] = []

    def script() -> None:
        connected(server)
        sent.append(sending(server, 2.5))

    options = StreamOptions(lifetime=0.6, overlap=0.2, first_delay=0.01)
    summary = record_while(config, script, options, rotate=0.4)
    assert summary.connections >= 3
    assert numbers(config.lake) == list(range(sent[0]))
    assert summary.duplicates > 10, "both connections brought it"
    assert summary.new == sent[0]
    assert summary.orders == summary.new + summary.duplicates
    assert len(covered(config.lake)) == 1
    names = events(config.lake)["connection"].unique()
    assert len(names) >= 3


def test_a_connection_that_the_exchange_ends_leaves_a_hole(config, server):
    server.lifetime = 0.5

    def script() -> None:
        connected(server)
        server.send(order(1))
        wait_for(lambda: len(server.paths) >= 2 and server.clients, "a second connection")
        server.send(order(2))

    record_while(config, script)
    assert numbers(config.lake) == [1, 2]
    assert len(covered(config.lake)) == 2


def test_a_feed_gone_silent_is_replaced_and_covers_nothing_since(config, server, capfd):
    silenced: list[datetime] = []

    def script() -> None:
        connected(server)
        server.send(order(1))
        received(config, 1)
        server.silence()
        silenced.append(utc_now())
        connected(server)
        server.send(order(2))
        time.sleep(0.6)

    options = StreamOptions(
        max_silence=0.5, overlap=0.1, ping_interval=0.05, pong_timeout=1, first_delay=0.01
    )
    summary = record_while(config, script, options)
    assert summary.connections >= 2
    assert "no order for" in capfd.readouterr().err
    spans = covered(config.lake)
    assert len(spans) == 2
    assert spans[0][1] <= silenced[0], "pongs prove nothing about the feed"
    assert spans[1][0] > silenced[0]


def test_a_calm_market_leaves_no_hole(config, server):
    """The silent connection is kept beside the new one until that has brought an order."""

    def script() -> None:
        connected(server)
        server.send(order(1))
        wait_for(
            lambda: len(server.paths) == 3 and server.clients == 2,
            "the second is found silent too and replaced in its turn",
        )
        assert server.send(order(2)) == 2

    options = StreamOptions(max_silence=0.5, overlap=0.1, first_delay=0.01)
    summary = record_while(config, script, options)
    assert summary.connections >= 3
    assert numbers(config.lake) == [1, 2]
    assert len(covered(config.lake)) == 1
    assert summary.duplicates == 1


def test_without_any_order_nothing_is_covered(config, server):
    summary = record_while(config, lambda: (connected(server), time.sleep(0.5)))
    assert summary.connections == 1
    assert summary.covered == []
    assert events(config.lake).is_empty()


def test_a_peer_that_answers_no_ping_is_left(config, server):
    frozen: list[datetime] = []

    def script() -> None:
        connected(server)
        server.send(order(1))
        received(config, 1)
        time.sleep(0.3)
        server.freeze()
        frozen.append(utc_now())
        connected(server)
        server.send(order(2))

    record_while(config, script)
    assert numbers(config.lake) == [1, 2]
    first, second = covered(config.lake)
    [heard, _] = events(config.lake)["receive_time"]
    assert first[1] > heard + timedelta(milliseconds=10), "a pong proves that it was up"
    assert first[1] < second[0]
    assert frozen[0] < second[0]


@pytest.mark.parametrize("leap", [timedelta(hours=8), -timedelta(minutes=5)])
def test_time_over_which_the_clock_leaps_is_not_covered(config, server, leap):
    offset = [timedelta(0)]

    def script() -> None:
        connected(server)
        server.send(order(1))
        received(config, 1)
        offset[0] = leap  # the machine slept, or its clock was set
        server.send(order(2))
        received(config, 2)

    summary = record_while(config, script, clock=lambda: utc_now() + offset[0])
    assert summary.covered_seconds < 5
    assert len(covered(config.lake)) == 2
    assert numbers(config.lake) == [1, 2]


# ----------------------------------------------------------------------------------- journals
def write_journal(path: Path) -> Journal:
    """Ten orders, after each what is covered so far."""
    journal = Journal(path)
    start = datetime(2025, 1, 1)
    for n in range(10):
        row = parse_message(json.dumps(order(n)))
        assert row is not None
        received = start + timedelta(seconds=n + 1)
        journal.order({"receive_time": received, **row, "connection": "c-1"})
        journal.covered("c-1", start, received)
        journal.sync()
    return journal


def test_a_journal_cut_anywhere_holds_the_orders_of_the_time_it_claims(tmp_path):
    path = tmp_path / "j.jsonl"
    write_journal(path).close()
    whole = path.read_bytes()
    dataset = STREAM["liquidations"]
    assert len(read_journal(path, dataset).rows) == 10
    for cut in range(0, len(whole), 7):
        path.write_bytes(whole[:cut])
        recorded = read_journal(path, dataset)
        lines = whole[:cut].count(b"\n")
        assert len(recorded.rows) == (lines + 1) // 2
        for start, end in recorded.spans.values():
            assert (end - start).total_seconds() <= len(recorded.rows)
        assert recorded.table(dataset).num_rows == len(recorded.rows)
        assert (recorded.torn == 0) == (cut == 0 or whole[cut - 1 : cut] == b"\n")


def test_what_a_power_cut_made_of_unsynced_lines_is_not_believed(tmp_path):
    path = tmp_path / "j.jsonl"
    write_journal(path).close()
    lines = path.read_bytes().splitlines(keepends=True)
    lines[10] = b"\0" * (len(lines[10]) - 1) + b"\n"
    path.write_bytes(b"".join(lines))
    assert len(read_journal(path, STREAM["liquidations"]).rows) == 5


def test_the_journal_of_a_living_recorder_is_left_alone(tmp_path):
    journal = write_journal(tmp_path / "living.jsonl")
    write_journal(tmp_path / "dead.jsonl").close()
    assert [p.name for p in abandoned(tmp_path)] == ["dead.jsonl"]
    journal.close()
    assert len(list(abandoned(tmp_path))) == 2


def test_a_torn_journal_is_folded_up_to_the_tear(config, server, capfd):
    Lake(config.lake).prepare("sandbox")
    folder = config.lake / "_tmp" / "stream"
    write_journal(folder / "x.jsonl").close()
    path = folder / "x.jsonl"
    path.write_bytes(path.read_bytes()[:-300])
    summary = record_while(config, lambda: None)
    assert summary.recovered == 9
    assert numbers(config.lake) == list(range(9))
    [(_, until)] = covered(config.lake)
    assert until == datetime(2025, 1, 1, 0, 0, 9)
    assert "are lost" in capfd.readouterr().err
    assert not list(folder.glob("*.jsonl"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_with_a_full_disk_the_journal_is_kept_and_folded_later(config, server):
    month = f"{utc_now():%Y-%m}"
    partition = Lake(config.lake).partition(STREAM["liquidations"], "_market", month)
    full = partition.with_name(f"data.parquet.{os.getpid()}.tmp")

    def script() -> None:
        connected(server)
        server.send(order(1))
        full.parent.mkdir(parents=True)
        full.symlink_to("/dev/full")

    with pytest.raises(PerpError, match=r"no space left for the lake .*: what was acknowledged"):
        record_while(config, script)
    assert events(config.lake).is_empty()
    full.unlink(missing_ok=True)
    summary = record_while(config, lambda: None)
    assert summary.recovered == 1
    assert numbers(config.lake) == [1]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_under_the_journal_ends_the_recording(config, server):
    journals = config.lake / "_tmp" / "stream"

    def fill_the_disk() -> None:
        [journal] = journals.glob("*.jsonl")
        [number] = [fd.name for fd in Path("/proc/self/fd").iterdir() if leads_to(fd, journal)]
        with Path("/dev/full").open("wb") as full:
            os.dup2(full.fileno(), int(number))

    def script() -> None:
        connected(server)
        server.send(order(1))
        received(config, 1)
        fill_the_disk()
        server.send(order(2))
        time.sleep(0.5)

    with pytest.raises(PerpError, match="no space left"):
        record_while(config, script)
    assert record_while(config, lambda: None).recovered == 1
    assert numbers(config.lake) == [1]


def leads_to(link: Path, path: Path) -> bool:
    """Whether a link of /proc, which may be gone by now, leads to a path."""
    try:
        return link.readlink() == path
    except OSError:
        return False


# -------------------------------------------------------------------------------- the sandbox
def test_the_sandbox_has_the_paths_of_the_exchange(server):
    with (
        connect(server.url + RAW) as raw,
        connect(server.url + COMBINED) as combined,
        connect(server.url + RETIRED) as retired,
    ):
        connected(server, 2)
        assert server.send(order(1)) == 2
        assert json.loads(raw.recv()) == order(1)
        assert json.loads(combined.recv()) == {"stream": "!forceOrder@arr", "data": order(1)}
        with pytest.raises(TimeoutError):
            retired.recv(timeout=0.2)
    with pytest.raises(InvalidStatus), connect(server.url + "/market/stream?streams=btcusdt@x"):
        pass


def test_the_sandbox_loses_what_nobody_is_there_for(server):
    assert server.send(order(1)) == 0
    server.drop_after = 2
    with connect(server.url + RAW) as client:
        connected(server)
        server.send(order(2))
        server.send(order(3))
        assert json.loads(client.recv()) == order(2)
        wait_for(lambda: not server.clients, "the connection is dropped")
        assert server.send(order(4)) == 0
    assert (server.sent, server.lost) == (2, 2)


def test_a_bucket_out_of_reach_ends_no_recording(config, server, tmp_path, monkeypatch, capfd):
    with ObjectServer() as store:
        for name, value in (store.environment | {"PERP_SCRATCH": str(tmp_path / "s")}).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr("ingest.store._ATTEMPTS", 1)
        far = replace(config, lake=lake_path(f"s3://{BUCKET}/lake"))
        lost: list[Asked] = []

        def away(asked: Asked) -> Answer | None:
            if asked.method != "PUT" or "month=2" not in asked.path or len(lost) == 3:
                return None
            lost.append(asked)
            return LOST

        store.faults.append(away)

        def script() -> None:
            connected(server)
            for n in range(6):
                server.send(order(n))
                time.sleep(0.2)
            wait_for(lambda: len(lost) == 3, "folds that fail")
            server.send(order(6))

        record_while(far, script, rotate=0.1)
        (record,) = Lake(far.lake).state("stream").values()
        assert record.rows_out == 7
        assert len(record.covered) == 1, "recorded from end to end"
        assert Lake(far.lake).is_intact(record)
    assert "recording goes on, and the next fold lands the journal" in capfd.readouterr().err
