"""Run suites of tasks, keep, compare and report their results: HTML, CSV, JSON, LaTeX, PNG."""

from __future__ import annotations

from isogloss.bench.compare import Comparison, compare
from isogloss.bench.compare_table import compare_csv, compare_latex
from isogloss.bench.data import find_data
from isogloss.bench.latex import latex_matrix, write_latex
from isogloss.bench.pictures import write_layers_png, write_matrix_png
from isogloss.bench.recipe import RunConfig, read_recipe
from isogloss.bench.report import write_report
from isogloss.bench.run import Failure, SuiteRun, run_benchmark, run_suite
from isogloss.bench.store import (
    RunRecord,
    RunResult,
    finished_suites,
    load_results,
    load_run,
    load_runs,
    save_result,
)
from isogloss.bench.suite import Suite, load_suite, suite_names
from isogloss.bench.summary import summarise, write_results_csv, write_results_json

__all__ = [
    "Comparison",
    "Failure",
    "RunConfig",
    "RunRecord",
    "RunResult",
    "Suite",
    "SuiteRun",
    "compare",
    "compare_csv",
    "compare_latex",
    "find_data",
    "finished_suites",
    "latex_matrix",
    "load_results",
    "load_run",
    "load_runs",
    "load_suite",
    "read_recipe",
    "run_benchmark",
    "run_suite",
    "save_result",
    "suite_names",
    "summarise",
    "write_latex",
    "write_layers_png",
    "write_matrix_png",
    "write_report",
    "write_results_csv",
    "write_results_json",
]
