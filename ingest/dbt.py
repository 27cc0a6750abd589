"""Run dbt as a program, in the project folder, with this interpreter's installation."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from ingest.config import PROJECT_ROOT, Config


def run_dbt(config: Config, *arguments: str) -> int:
    """Run ``dbt`` on the configured lake and warehouse; returns its exit code."""
    config.warehouse.absolute().parent.mkdir(parents=True, exist_ok=True)
    environment = {
        **os.environ,
        "PERP_LAKE": str(config.lake.absolute()),
        "PERP_WAREHOUSE": str(config.warehouse.absolute()),
    }
    command = [str(Path(sys.executable).with_name("dbt")), *arguments]
    return subprocess.run(command, cwd=PROJECT_ROOT, env=environment, check=False).returncode
