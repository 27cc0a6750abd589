"""Ctrl-C in a build: dbt gets it once, ends what it is doing, and perp says how to go on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

DBT = """
import signal, sys, time
got = []
signal.signal(signal.SIGINT, lambda number, frame: got.append(number))
print("building", flush=True)
while not got:
    time.sleep(0.02)
time.sleep(0.5)  # longer than subprocess waits by itself
print(f"ended after {len(got)}", flush=True)
sys.exit(2)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_reaches_dbt_once_and_ends_with_130(tmp_path: Path, number):
    """A stand-in for dbt, which takes ten seconds to begin: what is tested is who gets what."""
    code = f"""
import sys
from pathlib import Path
import ingest.dbt
from ingest.cli import main
tool = Path({str(tmp_path)!r}) / "bin"
tool.mkdir()
(tool / "dbt").write_text("#!" + sys.executable + "\\n" + {DBT!r})
(tool / "dbt").chmod(0o755)
sys.executable = str(tool / "python")
sys.argv = ["perp", "build"]
main()
"""
    env = {**os.environ, "PERP_LAKE": str(tmp_path / "lake")}
    env["PERP_WAREHOUSE"] = str(tmp_path / "w.duckdb")
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "building\n"
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # as a terminal does
    else:
        process.send_signal(number)
    try:
        out, err = process.communicate(timeout=20)
    finally:
        process.kill()
    assert out == "ended after 1\n"
    assert process.returncode == 130
    assert len(err.strip().splitlines()) == 1
    assert "run the same command again to go on" in err
