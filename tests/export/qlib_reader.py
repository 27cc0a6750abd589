"""Read an export through Qlib itself and save what it says; runs in the environment of Qlib.

Usage: python qlib_reader.py FOLDER SNIPPET.py OUTPUT.json, in which FOLDER is an export as qlib and
SNIPPET.py is what the docs say to do with it.
"""

import json
import runpy
import sys
from pathlib import Path

import qlib
from qlib.data import D

START, END = "2024-01-01", "2024-12-31 23:00"


def main(folder: Path, snippet: Path, output: Path) -> None:
    """Calendar, spans, every field of every instrument, and an expression."""
    qlib.init(provider_uri=str(folder), kernels=1, logging_level=30)
    instruments = D.list_instruments(D.instruments("all"), freq="60min")
    names = {p.name.removesuffix(".60min.bin") for p in folder.glob("features/*/*.bin")}
    fields = [f"${name}" for name in sorted(names)] + ["Ref($close, 1)", "Mean($volume, 3)"]
    frame = D.features(D.instruments("all"), fields, START, END, freq="60min")
    rows = frame.reset_index().astype({"datetime": str})
    found = {
        "calendar": [str(hour) for hour in D.calendar(START, END, freq="60min")],
        "spans": {name: [list(map(str, s)) for s in spans] for name, spans in instruments.items()},
        "fields": fields,
        "snippet": runpy.run_path(str(snippet))["frame"]["$close"].tolist(),
        "rows": rows.astype(object).where(rows.notna(), None).values.tolist(),
    }
    output.write_text(json.dumps(found, ensure_ascii=False), encoding="utf-8")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
