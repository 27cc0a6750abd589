"""The page: a template, its style and script, plotly, and the sections as JSON, in one file."""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ingest.errors import PerpError
from ingest.progress import size
from ingest.report.reader import Section


def render(sections: dict[str, Section]) -> str:
    """The whole page as text.

    Everything from the warehouse is escaped: what stands in the text by the template, what stands
    in JSON by ``tojson``, and the script puts it into the page as text only.
    """
    environment = Environment(
        loader=PackageLoader("ingest.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["bytes"] = size
    scripts = [_plotly(), _own("report.js")]
    return environment.get_template("page.html").render(
        sections=sections,
        scripts=[Markup(s) for s in scripts],  # noqa: S704 (files of packages)
        style=Markup(_own("report.css")),  # noqa: S704
        policy=_policy(scripts),
    )


def _plotly() -> str:
    """plotly.js, as the Python package carries it."""
    try:
        script = (files("plotly") / "package_data" / "plotly.min.js").read_text("utf-8")
    except (ModuleNotFoundError, FileNotFoundError) as error:
        raise PerpError("plotly is not installed; run: pip install 'plotly>=7.1,<8'") from error
    if "</script" in script.lower():
        raise PerpError("this plotly cannot be put into a page: its script would end early")
    return script


def _own(name: str) -> str:
    return (files("ingest.report") / name).read_text("utf-8")


def _policy(scripts: list[str]) -> str:
    """Content security policy: these scripts and no other, and nothing from any network.

    plotly writes styles into the elements that it makes and draws heatmaps as images in the page.
    """
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}'"
        for s in scripts
    )
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )
