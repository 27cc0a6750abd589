"""Run dbt as a program, in the project folder, with this interpreter's installation."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from ingest.config import PROJECT_ROOT


def run_dbt(*arguments: str) -> int:
    """Run ``dbt`` with these arguments; returns its exit code."""
    dbt = Path(sys.executable).with_name("dbt")
    return subprocess.run([dbt, *arguments], cwd=PROJECT_ROOT, check=False).returncode
