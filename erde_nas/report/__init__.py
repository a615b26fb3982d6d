"""The report of a run: pareto.json and pareto.csv, tables for the terminal and Markdown, plots and one page."""
