"""Run logs: one file of JSON lines for every command that changes something.

A file says which command ran with which arguments, what it complained of, how it ended and what it
printed as its summary. Its process keeps it locked: a log without an end whose lock is free is that
of a process that was killed. Beside it, ``.now`` holds the latest line of progress while it runs.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePath
from typing import Any, TextIO

from ingest.errors import UsageError
from ingest.store import local_side

MAX_BYTES = 1 << 20  # of one run log; its last line is written all the same
_SUMMARY_CHARACTERS = 10_000  # the end of what was printed
_PROGRESS_EVERY_SECONDS = 1.0
_SECRET_NAME = re.compile(r"(KEY|SECRET|TOKEN|PASSWORD|PASSWD)$", re.IGNORECASE)
_SHORTEST_SECRET = 6
_HIDDEN = "***"
_IN_ADDRESS = re.compile(r"(?<=://)[^/@\s]+@")


def folder_of(lake: PurePath) -> Path:
    """Where the run logs of a lake are: ``PERP_LOGS``, or ``logs`` beside the lake."""
    if given := os.environ.get("PERP_LOGS"):
        return Path(given)
    return local_side(lake).absolute().parent / "logs"


class RunLog:
    """The log of this run. Its file is there from the first line on."""

    def __init__(self, folder: Path, command: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        name = f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}-{command.replace(' ', '-')}-{os.getpid()}"
        self.path = folder / f"{name}.jsonl"
        self._now = self.path.with_suffix(".now")
        self._told = 0.0
        self._started = time.monotonic()
        self._written = 0
        self._secrets = _secrets()
        self._handle = self.path.open("a", encoding="utf-8")
        fcntl.flock(self._handle, fcntl.LOCK_EX)

    def write(self, event: str, **facts: object) -> None:
        """Add a line, unless the file is full; a disk that is full does not end the run."""
        line = self._line(event, facts)
        if self._written + len(line) > MAX_BYTES:
            return
        self._written += len(line)
        self._put(line)

    def end(self, code: int, **facts: object) -> None:
        """Add the last line."""
        seconds = round(time.monotonic() - self._started, 3)
        self._put(self._line("end", {"code": code, "seconds": seconds, **facts}))
        with contextlib.suppress(OSError):
            self._now.unlink(missing_ok=True)
            self._handle.close()

    def progress(self, line: Callable[[], str]) -> None:
        """Keep the latest line of progress where ``perp status --watch`` finds it."""
        now = time.monotonic()
        if now - self._told < _PROGRESS_EVERY_SECONDS:
            return
        self._told = now
        tmp = self._now.with_suffix(".now.tmp")
        with contextlib.suppress(OSError):
            tmp.write_text(self._clean(line()), encoding="utf-8")
            os.replace(tmp, self._now)

    def _put(self, line: str) -> None:
        with contextlib.suppress(OSError):
            self._handle.write(line)
            self._handle.flush()

    def _line(self, event: str, facts: Mapping[str, object]) -> str:
        entry = {"time": _utc_now(), "event": event, **self._clean(facts)}
        return json.dumps(entry, ensure_ascii=False) + "\n"

    def _clean(self, value: Any) -> Any:  # noqa: ANN401 (whatever JSON holds)
        """The same without secrets; what JSON cannot hold becomes text."""
        if isinstance(value, Mapping):
            return {str(k): self._clean(v) for k, v in value.items()}
        if isinstance(value, (list, tuple)):
            return [self._clean(item) for item in value]
        if isinstance(value, (bool, int, float, type(None))):
            return value
        text = str(value)
        for secret in self._secrets:
            text = text.replace(secret, _HIDDEN)
        return _IN_ADDRESS.sub(f"{_HIDDEN}@", text)


_current: list[RunLog] = []


def note(text: str) -> None:
    """Add a message to the log of this run, if there is one."""
    if _current:
        _current[-1].write("note", text=text)


def progress(line: Callable[[], str]) -> None:
    """Say how far this run is, if it has a log."""
    if _current:
        _current[-1].progress(line)


@contextmanager
def recorded(lake: PurePath, command: str, arguments: Mapping[str, object]) -> Iterator[list[int]]:
    """Keep a log of what happens inside; the exit code is put into the list that is yielded.

    Without a log, because its folder cannot be written, the command runs all the same.
    """
    code: list[int] = []
    try:
        log = RunLog(folder_of(lake), command)
    except OSError as error:
        yield code
        if code and code[0] < 2:
            print(f"perp: this run has no log: {error}; set PERP_LOGS", file=sys.stderr)
        return
    given = {k: _HIDDEN if _SECRET_NAME.search(k) else v for k, v in arguments.items()}
    log.write("start", command=f"perp {command}", pid=os.getpid(), lake=str(lake), arguments=given)
    _current.append(log)
    handler = _Warnings(log)
    logging.getLogger().addHandler(handler)
    printed = _Copy(sys.stdout)
    outcome: dict[str, object] = {}
    try:
        with contextlib.redirect_stdout(printed):
            yield code
    except BaseException as error:
        code[:] = [_code_of(error)]
        if code != [130]:
            outcome["error"] = str(error) or type(error).__name__
        raise
    finally:
        logging.getLogger().removeHandler(handler)
        _current.remove(log)
        if text := printed.tail():
            log.write("summary", text=text)
        log.end(code[0] if code else 0, **outcome)


def _code_of(error: BaseException) -> int:
    if isinstance(error, UsageError):
        return 2
    return 1 if isinstance(error, Exception) and not _is_abort(error) else 130


def _is_abort(error: Exception) -> bool:
    return type(error).__name__ == "Abort"  # click's, at a question


class _Warnings(logging.Handler):
    """Puts warnings of all loggers into the run log."""

    def __init__(self, log: RunLog) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        self._log.write("warning", text=record.getMessage())


class _Copy:
    """stdout, of which the end is remembered."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._kept = ""

    def write(self, text: str) -> int:
        self._kept = (self._kept + text)[-_SUMMARY_CHARACTERS:]
        return self._stream.write(text)

    def tail(self) -> str:
        """The end of what was printed."""
        return self._kept.strip()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 (whatever a stream has)
        return getattr(self._stream, name)


def _secrets() -> list[str]:
    """Values of the environment that are nobody's business, the longest first."""
    values = {v for k, v in os.environ.items() if _SECRET_NAME.search(k)}
    return sorted((v for v in values if len(v) >= _SHORTEST_SECRET), key=len, reverse=True)


def _utc_now() -> str:
    return datetime.now(UTC).replace(tzinfo=None).isoformat(timespec="milliseconds")


# ------------------------------------------------------------------------------------- reading
@dataclass(frozen=True)
class Run:
    """What a run log says.

    Args:
        outcome: ``running``, ``killed``, ``done``, ``failed``, ``refused`` or ``interrupted``.
        now: the latest line of progress of a run that goes on.
        last: the last message, or the first line of the summary.
    """

    path: str
    command: str
    arguments: dict[str, object]
    pid: int
    started: str
    seconds: float | None
    code: int | None
    outcome: str
    notes: int
    last: str
    now: str = ""


_OUTCOMES = {0: "done", 1: "failed", 2: "refused", 130: "interrupted"}


def runs(folder: Path, newest: int) -> list[Run]:
    """The newest runs, the latest first."""
    paths = sorted(folder.glob("*.jsonl"), reverse=True)
    return [run for path in paths[:newest] if (run := read_run(path))]


def last_seconds(folder: Path, command: str, arguments: Mapping[str, object]) -> float | None:
    """How long the newest run of a command with these arguments took that ended well."""
    given = json.loads(json.dumps(arguments, default=str))
    for path in sorted(folder.glob(f"*-{command.replace(' ', '-')}-*.jsonl"), reverse=True)[:50]:
        run = read_run(path)
        if run and run.outcome == "done" and run.arguments == given:
            return run.seconds
    return None


def running(folder: Path) -> list[Run]:
    """Runs that go on now."""
    paths = (p for p in sorted(folder.glob("*.jsonl"), reverse=True)[:100] if is_running(p))
    return [run for path in paths if (run := read_run(path)) and run.outcome == "running"]


def is_running(path: Path) -> bool:
    """Whether the process that writes a run log lives."""
    try:
        with path.open("rb") as handle:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def read_run(path: Path) -> Run | None:
    """What a run log says; None if it has no first line."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    entries = []
    for line in text.splitlines():
        with contextlib.suppress(ValueError):  # a line that a killed process did not finish
            entries.append(json.loads(line))
    if not entries or entries[0].get("event") != "start":
        return None
    start, end = entries[0], entries[-1] if entries[-1].get("event") == "end" else {}
    notes = [e for e in entries if e.get("event") in ("note", "warning")]
    summary = next((e["text"] for e in entries if e.get("event") == "summary"), "")
    last = end.get("error") or summary or (notes[-1]["text"] if notes else "")
    code = end.get("code")
    if end:
        outcome = _OUTCOMES.get(end["code"], f"exit code {code}")
    else:
        outcome = "running" if is_running(path) else "killed"
    now = ""
    if outcome == "running":
        with contextlib.suppress(OSError):
            now = path.with_suffix(".now").read_text(encoding="utf-8")
    return Run(
        str(path),
        start["command"],
        start["arguments"],
        start["pid"],
        start["time"],
        end.get("seconds"),
        code,
        outcome,
        len(notes),
        last.splitlines()[0] if last else "",
        now,
    )
