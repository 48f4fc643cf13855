"""SQL over logs and runs: one view per kind, macros, and results as table, CSV, JSON or Parquet. The only place that imports DuckDB."""

from __future__ import annotations

from xarb.sql.connection import Query, Result, open_query
from xarb.sql.examples import EXAMPLES, Example
from xarb.sql.output import FORMATS, print_table, write_result
from xarb.sql.prompt import run_prompt
from xarb.sql.views import TRIALS

__all__ = ["EXAMPLES", "FORMATS", "TRIALS", "Example", "Query", "Result", "open_query", "print_table", "run_prompt", "write_result"]
