"""The state of a warehouse as one HTML page that needs nothing else.

``write_report`` asks DuckDB for sums and samples (``sections``, ``factors``), puts them into a page
as JSON, and beside them the JavaScript of plotly, so that it opens without a network (``page``).
"""

from ingest.report.report import Choice, Outcome, write_report

__all__ = ["Choice", "Outcome", "write_report"]
