"""Run suites of tasks, keep their results, report on them: HTML, CSV, JSON, LaTeX, PNG."""

from __future__ import annotations

from isogloss.bench.latex import latex_matrix, write_latex
from isogloss.bench.pictures import write_layers_png, write_matrix_png
from isogloss.bench.report import write_report
from isogloss.bench.run import RunConfig, read_recipe, run_benchmark
from isogloss.bench.store import RunRecord, RunResult, load_results, load_run, save_result
from isogloss.bench.summary import summarise, write_results_csv, write_results_json

__all__ = [
    "RunConfig",
    "RunRecord",
    "RunResult",
    "latex_matrix",
    "load_results",
    "load_run",
    "read_recipe",
    "run_benchmark",
    "save_result",
    "summarise",
    "write_latex",
    "write_layers_png",
    "write_matrix_png",
    "write_report",
    "write_results_csv",
    "write_results_json",
]
