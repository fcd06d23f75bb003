"""``python -m mmbench.report SWEEP``: the table of a sweep."""

from mmbench.cli import report_command

if __name__ == "__main__":
    report_command()
