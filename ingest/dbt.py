"""Run dbt as a program, in the project folder, with this interpreter's installation."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from ingest.config import PROJECT_ROOT, Config
from ingest.warehouse import check_unlocked


def run_dbt(config: Config, *arguments: str) -> int:
    """Run ``dbt`` on the configured lake and warehouse; returns its exit code.

    Ctrl-C and SIGTERM are passed on once, and dbt ends what it is doing; a second Ctrl-C kills it.
    Raises PerpError if another process has the warehouse open.
    """
    config.warehouse.absolute().parent.mkdir(parents=True, exist_ok=True)
    check_unlocked(config.warehouse)
    environment = {
        **os.environ,
        "PERP_LAKE": str(config.lake.absolute()),
        "PERP_WAREHOUSE": str(config.warehouse.absolute()),
    }
    command = [str(Path(sys.executable).with_name("dbt")), *arguments]
    # A process group of its own: else a terminal's Ctrl-C would reach dbt beside ours.
    with (
        subprocess.Popen(command, cwd=PROJECT_ROOT, env=environment, process_group=0) as process,
        _sigterm_as_interrupt(),
    ):
        try:
            return process.wait()
        except KeyboardInterrupt:
            process.send_signal(signal.SIGINT)
            try:
                process.wait()
            except KeyboardInterrupt:
                process.kill()
            raise


@contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """Have SIGTERM raise KeyboardInterrupt; only the main thread can."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
