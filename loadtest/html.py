"""The report as one offline page."""

from loadtest.report import Report


def page(report: Report) -> str:
    return f"<title>{report.run}</title>"
