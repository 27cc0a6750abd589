"""Where things are: environment variables with their defaults, checked once."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from ingest.errors import UsageError
from ingest.store import ObjectPath, endpoint, lake_path

PROJECT_ROOT = Path(__file__).resolve().parents[1]
API_URL = "https://fapi.binance.com"
STREAM_URL = "wss://fstream.binance.com"
TARDIS_URL = "https://datasets.tardis.dev"


@dataclass(frozen=True)
class Config:
    """Paths and addresses of one run; every field can be set by the environment variable named."""

    lake: Path | ObjectPath  # PERP_LAKE
    warehouse: Path  # PERP_WAREHOUSE
    archive_url: str  # PERP_ARCHIVE_URL
    listing_url: str  # PERP_ARCHIVE_LISTING_URL
    api_url: str = API_URL  # PERP_API_URL
    stream_url: str = STREAM_URL  # PERP_STREAM_URL
    tardis_url: str = TARDIS_URL  # PERP_TARDIS_URL
    published: Path = Path("data/published")  # PERP_PUBLISHED

    @classmethod
    def from_env(
        cls,
        *,
        lake: Path | ObjectPath | None = None,
        warehouse: Path | None = None,
        archive_url: str | None = None,
        archive_listing_url: str | None = None,
        api_url: str | None = None,
        stream_url: str | None = None,
        tardis_url: str | None = None,
        published: Path | None = None,
    ) -> Config:
        """What is given wins over the environment, and that over the defaults.

        Default paths lie in the project, given ones are relative to the working directory. What is
        published lies beside the warehouse. Raises UsageError for an address that is not safe.
        """
        warehouse = warehouse or _path("PERP_WAREHOUSE", "data/warehouse.duckdb")
        return cls(
            lake=_lake(lake),
            warehouse=warehouse,
            archive_url=_checked("PERP_ARCHIVE_URL", archive_url, "https://data.binance.vision"),
            listing_url=_checked(
                "PERP_ARCHIVE_LISTING_URL",
                archive_listing_url,
                "https://s3-ap-northeast-1.amazonaws.com/data.binance.vision",
            ),
            api_url=_checked("PERP_API_URL", api_url, API_URL),
            stream_url=_checked("PERP_STREAM_URL", stream_url, STREAM_URL, ("ws", "wss")),
            tardis_url=_checked("PERP_TARDIS_URL", tardis_url, TARDIS_URL),
            published=published
            or _path("PERP_PUBLISHED", str(warehouse.absolute().with_name("published"))),
        )

    def file_to_read(self, given: Path | None = None) -> Path:
        """The DuckDB file that is named, else the published one, else the warehouse."""
        current = self.published / "current" / "warehouse.duckdb"
        return given or (current if current.exists() else self.warehouse)


def origin(url: str) -> str:
    """``sandbox`` for an address of this machine, else ``exchange``; a lake holds only one."""
    return "sandbox" if is_loopback(url) else "exchange"


def is_loopback(url: str) -> bool:
    """True if the host of ``url`` is this machine."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _lake(given: Path | ObjectPath | None) -> Path | ObjectPath:
    text = os.environ.get("PERP_LAKE")
    lake = given or (lake_path(text) if text else _path("PERP_LAKE", "data/lake"))
    if isinstance(lake, ObjectPath) and (server := endpoint()):
        _checked("AWS_ENDPOINT_URL", server, server)
    return lake


def _path(variable: str, default: str) -> Path:
    if given := os.environ.get(variable):
        return Path(given)
    path = PROJECT_ROOT / default
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _checked(
    variable: str, given: str | None, default: str, schemes: tuple[str, str] = ("http", "https")
) -> str:
    """An address without its last slash; ``schemes`` are the plain and the encrypted one."""
    url = (given or os.environ.get(variable) or default).rstrip("/")
    parts = urlsplit(url)
    plain, encrypted = schemes
    if not parts.hostname or parts.scheme not in schemes:
        raise UsageError(f"{variable}={url!r} is not an address; use {encrypted}://host[/path]")
    if parts.scheme == plain and not is_loopback(url):
        raise UsageError(
            f"{variable}={url!r} is not encrypted; use {encrypted}:// ({plain} is for loopback)"
        )
    return url
