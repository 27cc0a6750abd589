"""Readers at work while versions come and go: no error, and every answer is of one version."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

from ingest.publish import publish
from tests.publish.conftest import HOURS, SYMBOLS, Warehouse

ROUNDS = 6
READER = """
import json, sys
from pathlib import Path
import duckdb

current, stop = Path(sys.argv[1]), Path(sys.argv[2])
QUERY = '''
    select
        (select list(distinct version) from final_dataset),
        (select list(distinct version) from hourly_bars),
        (select list(distinct version) from liquidation_factors_15m),
        (select list(version) from int_liquidations),
        (select count(*) from final_dataset as f join hourly_bars as b using (symbol, hour_ts))
'''

def answer(connection):
    *versions, rows = connection.execute(QUERY).fetchone()
    numbers = {n for found in versions for n in found}
    assert len(numbers) == 1 and all(versions), versions
    return numbers.pop(), rows

def open_(path):
    return duckdb.connect(str(path / "warehouse.duckdb"), read_only=True)

seen, answers = [], 0
while not stop.exists():
    held = open_(current.resolve())  # stays open over several versions
    first = answer(held)
    for _ in range(20):
        with open_(current) as fresh:
            number, rows = answer(fresh)
        folder = current.resolve()
        files = duckdb.execute(
            f"select list(distinct version), count(*) from '{folder}/parquet/*/*/*.parquet'"
        ).fetchone()
        manifest = json.loads((folder / "manifest.json").read_text())
        assert len(files[0]) == 1 and files[0][0] >= number, (files, number)
        assert files[1] == sum(f.get("rows", 0) for f in manifest["files"])
        assert answer(held) == first
        if number not in seen:
            seen.append(number)
            print(json.dumps([number, rows]), flush=True)
        answers += 3
        if stop.exists():
            break
    held.close()
print(json.dumps({"answers": answers, "seen": seen}), flush=True)
"""


def test_two_readers_see_old_or_new_and_never_a_mixture(warehouse: Warehouse, tmp_path: Path):
    publish(warehouse.config)
    stop = tmp_path / "stop"
    readers = [
        subprocess.Popen(
            [sys.executable, "-c", READER, warehouse.current, stop],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for _ in range(2)
    ]  # fmt: skip
    for number in range(1, ROUNDS + 1):
        for reader in readers:  # both have read the version before the next one comes
            line = reader.stdout.readline()
            assert line, reader.communicate()[1]
            assert json.loads(line) == [number, len(SYMBOLS) * HOURS]
        if number < ROUNDS:
            warehouse.build()
            publish(warehouse.config, keep=2)
    for _ in range(3):  # and these come one after the other
        warehouse.build()
        publish(warehouse.config, keep=2)
    time.sleep(0.5)
    stop.touch()
    for reader in readers:
        out, errors = reader.communicate(timeout=60)
        assert reader.returncode == 0, errors
        summary = json.loads(out.splitlines()[-1])
        assert summary["seen"] == sorted(summary["seen"])
        assert summary["seen"][:ROUNDS] == list(range(1, ROUNDS + 1))
        assert summary["answers"] > 3 * ROUNDS
