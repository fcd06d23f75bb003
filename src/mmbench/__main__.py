"""``python -m mmbench``: one cell, or with ``-m`` a sweep of cells."""

from mmbench.cli import run_command

if __name__ == "__main__":
    run_command()
