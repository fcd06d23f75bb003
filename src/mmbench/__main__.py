"""``python -m mmbench``: one cell, with ``-m`` a sweep of cells, or a sub-command by its name."""

from mmbench.cli import program

if __name__ == "__main__":
    program()
