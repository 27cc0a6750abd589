"""The page of the data dictionary, made fit to be opened as a file.

``dbt docs generate --static`` writes one page that needs no network, but its browser's console is
full of errors: its templates name icons by expressions, which are taken for addresses until the
page's script has replaced them (``ng-attr-href`` is read in time), and its own icon is a place
holder.
"""

from __future__ import annotations

import os
from pathlib import Path

from ingest.errors import PerpError
from ingest.store import write_atomic

PAGE = "static_index.html"
_MENDED = {
    '<use xlink:href="{{': '<use ng-attr-href="{{',
    """href="${require('./assets/favicons/favicon.ico')}\"""": 'href="data:,"',
}


def main() -> None:
    """Mend the page in dbt's target folder (``DBT_TARGET_PATH``), and say where it is."""
    path = Path(os.environ.get("DBT_TARGET_PATH", "target")) / PAGE
    page = path.read_text(encoding="utf-8")
    for wrong, right in _MENDED.items():
        if wrong not in page:
            raise PerpError(f"{path} is not the page that dbt 1.11 writes: it lacks {wrong}")
        page = page.replace(wrong, right)
    write_atomic(path, page.encode())
    print(f"data dictionary: {path}")


if __name__ == "__main__":
    main()
