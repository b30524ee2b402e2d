"""What people see: the terminal's tables, charts, the page, the files of a run folder."""

from sim.report.csv_text import csv_text
from sim.report.frontier import frontier_html
from sim.report.markdown import frontier_markdown, run_markdown
from sim.report.run_folder import clear_run, write_json, write_parquet, write_report_html, write_run, write_text
from sim.report.terminal import print_frontier_table, print_run_summary

__all__ = [
    "clear_run", "csv_text", "frontier_html", "frontier_markdown", "print_frontier_table", "print_run_summary",
    "run_markdown", "write_json", "write_parquet", "write_report_html", "write_run", "write_text",
]  # fmt: skip
