"""The report: figures, plots and the page."""
