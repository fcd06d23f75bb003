"""``python -m mmbench.decide SWEEP``: should images be added?"""

from mmbench.cli import decide_command

if __name__ == "__main__":
    decide_command()
