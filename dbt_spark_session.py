"""Python models on Spark's session, which dbt-spark sends to Databricks only.

dbt loads every module whose name begins with ``dbt_`` and asks it for ``plugins``.
"""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from typing import Any

from dbt.plugins.manager import dbtPlugin


class SessionPythonJobHelper:
    """Runs a compiled Python model in the process of dbt, on the session that it has."""

    def __init__(self, parsed_model: dict[str, Any], credentials: Any) -> None:  # noqa: ANN401
        self.name = parsed_model["alias"]

    def submit(self, compiled_code: str) -> None:
        """Run the code; it finds the session as ``spark`` and writes the table itself."""
        from pyspark.sql import SparkSession

        code = compile(compiled_code, f"{self.name}.py", "exec")
        exec(code, {"__name__": self.name, "spark": SparkSession.builder.getOrCreate()})  # noqa: S102


class SparkSessionPlugin(dbtPlugin):
    """Gives dbt-spark, where it is installed, the submission method ``session``."""

    def initialize(self) -> None:
        """Add the method, make it the default, and have Spark's workers use this Python."""
        if find_spec("dbt.adapters.spark") is None:
            return
        from dbt.adapters.spark.impl import SparkAdapter

        methods = {"session": SessionPythonJobHelper}
        SparkAdapter.python_submission_helpers = property(lambda _: methods)
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # else the python3 of the path
        SparkAdapter.default_python_submission_method = property(lambda _: "session")


plugins = [SparkSessionPlugin]
