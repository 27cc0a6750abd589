"""Open a page in a real headless Chromium: what it drew, what it logged, what it asked the network.

Chromium is found on PATH; the environment variable CHROMIUM names another. Tests are skipped where
there is none. It is spoken to by its own DevTools protocol, so that levels of messages and uncaught
errors are known for certain (its log on stderr gives every message of a page the level INFO).
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

NAMES = ("chromium", "google-chrome", "chromium-browser", "google-chrome-stable")
TIMEOUT_SECONDS = 120.0  # a loaded machine is no error
LOADED = "document.readyState === 'complete'"
PAINTED = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done())))"
_ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--disable-gpu",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1",
    "--remote-debugging-port=0",
)


@dataclass(frozen=True)
class Message:
    """One line of the console: level is error, warning, info, log, debug ..."""

    level: str
    text: str


@dataclass
class Page:
    """What a page became.

    Attributes:
        dom: the document after its scripts ran.
        console: messages of the page and of the browser about it, with uncaught exceptions.
        requests: addresses asked for, the page's own first; not what lies in it as ``data:``.
        seconds: wall time from the navigation until the page was ready.
    """

    dom: str = ""
    console: list[Message] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def errors(self) -> list[str]:
        """Messages of level error: uncaught exceptions, console.error, blocked resources."""
        return [m.text for m in self.console if m.level == "error"]


def chromium() -> str:
    """Path of the browser; skips the test where there is none."""
    wanted = os.environ.get("CHROMIUM")
    found = shutil.which(wanted) if wanted else next(filter(None, map(shutil.which, NAMES)), None)
    if not found:
        pytest.skip(f"no Chromium: {wanted or ', '.join(NAMES)} not on PATH; set CHROMIUM to one")
    return found


def open_page(
    path_or_url: Path | str,
    *,
    width: int = 1400,
    height: int = 900,
    screenshot: Path | None = None,
    dark: bool = False,
    ready: str = LOADED,
) -> Page:
    """Open a page, wait until it is ready, and look at it.

    Args:
        path_or_url: a file, or an address.
        width, height: of the window, in CSS pixels.
        screenshot: where to write a PNG of the whole page, below the window too.
        dark: the user prefers dark colours.
        ready: JavaScript that is true once the page is ready to be looked at.
    """
    with visit(path_or_url, width=width, height=height, dark=dark, ready=ready) as tab:
        if screenshot:
            tab.screenshot(screenshot)
        tab.page.dom = tab.evaluate("document.documentElement.outerHTML")
    return tab.page


@contextmanager
def visit(
    path_or_url: Path | str,
    *,
    width: int = 1400,
    height: int = 900,
    dark: bool = False,
    ready: str = LOADED,
) -> Iterator[Tab]:
    """The same, for those who want to press keys and ask questions before the page is closed."""
    with _browser() as address, connect(address, max_size=None, proxy=None) as connection:
        tab = Tab(connection)
        tab.open(_address(path_or_url), width, height, dark, ready)
        yield tab
        tab.evaluate(PAINTED)  # what is still on its way to the console arrives before this answer


def _address(path_or_url: Path | str) -> str:
    if isinstance(path_or_url, Path) or "://" not in path_or_url[:12]:
        return Path(path_or_url).resolve(strict=True).as_uri()
    return path_or_url


@contextmanager
def _browser() -> Iterator[str]:
    """A browser with an empty profile; gives the address of its DevTools."""
    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as profile:
        command = [chromium(), *_ARGUMENTS, f"--user-data-dir={profile}", "about:blank"]
        with (Path(profile) / "log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        try:
            yield _devtools(Path(profile), process)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # its renderers, too
            process.wait()


def _devtools(profile: Path, process: subprocess.Popen[bytes]) -> str:
    port_file = profile / "DevToolsActivePort"
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(FileNotFoundError, ValueError):
            port, path = port_file.read_text().split()
            return f"ws://127.0.0.1:{port}{path}"
        time.sleep(0.02)
    raise RuntimeError(f"Chromium did not start:\n{(profile / 'log').read_text()[-2000:]}")


class Tab:
    """A page that is open."""

    def __init__(self, connection: ClientConnection) -> None:
        self.page = Page()
        self._connection = connection
        self._calls = 0
        self._session: str | None = None

    def open(self, address: str, width: int, height: int, dark: bool, ready: str) -> None:
        """Go to an address and wait until ``ready`` is true."""
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)[
            "sessionId"
        ]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{domain}.enable")
        self.resize(width, height)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._call("Emulation.setEmulatedMedia", features=[scheme])
        started = time.monotonic()
        failure = self._call("Page.navigate", url=address).get("errorText")
        if failure:
            raise RuntimeError(f"{address}: {failure}")
        self.wait(ready)
        self.evaluate(PAINTED)
        self.page.seconds = time.monotonic() - started

    def resize(self, width: int, height: int) -> None:
        """Set the size of the window, in CSS pixels."""
        self._call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def wait(self, condition: str) -> None:
        """Wait until JavaScript is true."""
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while not self.evaluate(f"location.href !== 'about:blank' && Boolean({condition})"):
            if time.monotonic() > deadline:
                raise TimeoutError(f"never true: {condition}; console: {self.page.console}")
            time.sleep(0.02)

    def evaluate(self, expression: str) -> Any:
        """Value of a JavaScript expression, awaited if it is a promise."""
        answer = self._call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in answer:
            raise RuntimeError(_exception(answer["exceptionDetails"]))
        return answer["result"].get("value")

    def press(self, key: str, text: str = "") -> None:
        """Press and release a key, as the keyboard would: ``Tab``, ``Enter`` (text ``\\r``) ..."""
        codes = {"Tab": 9, "Enter": 13, " ": 32, "ArrowRight": 39, "ArrowDown": 40}
        common = {"key": key, "code": key, "windowsVirtualKeyCode": codes.get(key, 0)}
        down = "keyDown" if text else "rawKeyDown"
        self._call("Input.dispatchKeyEvent", type=down, text=text, **common)
        self._call("Input.dispatchKeyEvent", type="keyUp", **common)

    def type(self, text: str) -> None:
        """Type text into what has the focus."""
        self._call("Input.insertText", text=text)

    def move(self, x: float, y: float) -> None:
        """Move the mouse to a place in the window."""
        self._call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def screenshot(self, path: Path) -> None:
        """Write a PNG of the whole page."""
        answer = self._call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(answer["data"]))

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._calls += 1
        message = {"id": self._calls, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._connection.send(json.dumps(message))
        while True:
            answer = json.loads(self._connection.recv(timeout=TIMEOUT_SECONDS))
            if answer.get("id") == self._calls:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return answer["result"]
            self._note(answer.get("method", ""), answer.get("params", {}))

    def _note(self, event: str, values: dict[str, Any]) -> None:
        console = self.page.console
        if event == "Runtime.consoleAPICalled":
            parts = [str(a.get("value", a.get("description", ""))) for a in values["args"]]
            console.append(Message(values["type"], " ".join(parts)))
        elif event == "Runtime.exceptionThrown":
            console.append(Message("error", _exception(values["exceptionDetails"])))
        elif event == "Log.entryAdded":
            entry = values["entry"]
            console.append(Message(entry["level"], f"{entry['text']} {entry.get('url', '')}"))
        elif event == "Network.requestWillBeSent":
            address = values["request"]["url"]
            if not address.startswith("data:"):
                self.page.requests.append(address)


def _exception(details: dict[str, Any]) -> str:
    return str(details.get("exception", {}).get("description", details["text"]))
