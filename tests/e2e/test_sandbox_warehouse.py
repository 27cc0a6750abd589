"""`perp sandbox warehouse`, what `make warehouse` runs: as a new user sees it, twice."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.build import read

PERP = Path(sys.executable).with_name("perp")


def test_the_sandbox_builds_from_nothing_and_again(tmp_path: Path):
    env = {
        **os.environ,
        "PERP_LAKE": str(tmp_path / "lake"),
        "PERP_WAREHOUSE": str(tmp_path / "w.duckdb"),
    }
    command = [PERP, "sandbox", "warehouse", "--folder", tmp_path / "exchange"]

    def run() -> str:
        result = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
        return result.stdout

    first = run()
    assert "2 files quarantined" in first
    assert "Example 3" in first
    assert "exchange_outage" in first
    assert "1 partitions landed" in first, "the replaced file"
    rows = read(tmp_path / "w.duckdb", "select count(*) as n from final_dataset")["n"][0]
    assert rows > 20_000

    second = run()
    assert "\n   0 partitions landed" in second
    assert read(tmp_path / "w.duckdb", "select count(*) as n from final_dataset")["n"][0] == rows
