"""Day files of the vendor Tardis: on its server, and in folders that its clients have filled."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path, PurePath
from urllib.parse import unquote, urlsplit

from ingest.config import TARDIS_URL, is_loopback
from ingest.datasets import MARKET, TARDIS
from ingest.errors import UsageError
from ingest.names import check_symbol
from ingest.sources.downloads import Failed, FileClient, Retry

GROUP = "PERPETUALS"  # the vendor's name for all perpetuals together
FIRST_RECORDED = date(2019, 11, 17)
KEY_VARIABLE = "TARDIS_API_KEY"

_DATASETS = "|".join(TARDIS)
_BY_CLIENT = re.compile(
    rf"binance-futures_(?P<dataset>{_DATASETS})_(?P<day>\d{{4}}-\d\d-\d\d)_(?P<symbol>[^/]+)\.csv\.gz"
)
_BY_ADDRESS = re.compile(
    rf"(?:.*/)?binance-futures/(?P<dataset>{_DATASETS})/(?P<day>\d{{4}}/\d\d/\d\d)/(?P<symbol>[^/]+)\.csv\.gz"
)


@dataclass(frozen=True)
class DayFile:
    """What one file holds: arrivals of one UTC day, of one contract or, as ``MARKET``, of all."""

    dataset: str
    symbol: str
    day: date

    @property
    def vendor_symbol(self) -> str:
        """The vendor's name for the contract, or for all of them."""
        return GROUP if self.symbol == MARKET else self.symbol

    @property
    def key(self) -> str:
        """Path below the server's address."""
        return f"v1/binance-futures/{self.dataset}/{self.day:%Y/%m/%d}/{self.vendor_symbol}.csv.gz"

    @property
    def name(self) -> str:
        """The name that the vendor's clients save it under."""
        return f"binance-futures_{self.dataset}_{self.day}_{self.vendor_symbol}.csv.gz"


def lake_symbol(text: str) -> str:
    """The lake's symbol for a contract or for the vendor's group of all; raises UsageError."""
    symbol = check_symbol(text)
    return MARKET if symbol == GROUP else symbol


def local_files(folder: Path) -> tuple[dict[DayFile, Path], int]:
    """Day files below a folder, named as the vendor's clients or its addresses name them.

    Returns:
        The files, and how many others there are. Of several for the same day the first in the order
        of their paths counts. Raises UsageError if there is no such folder.
    """
    if not folder.is_dir():
        raise UsageError(
            f"--path {folder} is not a folder; give the one that holds the .csv.gz files"
        )
    found: dict[DayFile, Path] = {}
    others = 0
    for path in sorted(p for p in folder.absolute().rglob("*") if p.is_file()):
        file = day_file(path)
        if file is None or file in found:
            others += 1
        else:
            found[file] = path
    return found, others


def day_file(path: PurePath) -> DayFile | None:
    """What a file holds by its name; None if it is not named as the vendor's files are."""
    match = _BY_CLIENT.fullmatch(path.name) or _BY_ADDRESS.fullmatch(path.as_posix())
    if not match:
        return None
    try:
        day = date.fromisoformat(match["day"].replace("/", "-"))
        return DayFile(match["dataset"], lake_symbol(unquote(match["symbol"])), day)
    except (ValueError, UsageError):
        return None


class TardisClient(FileClient):
    """Client of the vendor's file server. Use as an async context manager.

    The key of ``TARDIS_API_KEY`` goes to the vendor's own host, or to this machine, and to no
    other. Once the server has refused a day for want of a key, further such days are not asked for.
    """

    # The files are served as they are; a client that takes no gzip would get them inflated.
    accept_encoding = "gzip"

    def __init__(
        self,
        url: str,
        *,
        connections: int = 8,
        retry: Retry | None = None,
        on_bytes: Callable[[int], None] = lambda _: None,
    ) -> None:
        host = urlsplit(url).hostname or ""
        trusted = host == urlsplit(TARDIS_URL).hostname or is_loopback(url)
        secret = _key_from_environment()
        if secret is None:
            self._want = f"only first days of months are free; for others set {KEY_VARIABLE}"
        elif trusted:
            self._want = f"the key in {KEY_VARIABLE} does not open this file"
        else:
            self._want = f"the key in {KEY_VARIABLE} is not sent to {host}"
        self._has_key = secret is not None and trusted
        self._is_locked = False
        headers = {"Authorization": f"Bearer {secret}"} if self._has_key else {}
        super().__init__(
            url, connections=connections, retry=retry, on_bytes=on_bytes, headers=headers
        )

    def refusal(self, code: int) -> str:
        """What a status that no further attempt would change means to the user."""
        if code == 401:
            return self._want
        if code == 400:
            return "the vendor knows no such symbol or day"
        return super().refusal(code)

    async def download(self, file: DayFile, part: Path, known: set[str]) -> tuple[str, str, int]:
        """Fetch a day file to ``part``.

        Args:
            known: ETags of editions that are not wanted again.

        Returns:
            ETag, Last-Modified and number of attempts. Raises NotFound, NotModified, Failed or
            Quarantine.
        """
        if self._is_locked and file.day.day != 1:
            raise Failed(f"HTTP 401: {self._want}", 0)
        try:
            (etag, modified), attempts = await self.fetch(file.key, part, known)
        except Failed as error:
            refused = str(error).startswith("HTTP 401")
            self._is_locked |= refused and not self._has_key and file.day.day != 1
            raise
        return etag, modified, attempts


def _key_from_environment() -> str | None:
    secret = os.environ.get(KEY_VARIABLE, "").strip()
    if not secret:
        return None
    if not (secret.isascii() and secret.isprintable() and " " not in secret):
        raise UsageError(f"{KEY_VARIABLE} holds characters that no key has; set it anew")
    return secret
