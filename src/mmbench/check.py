"""``python -m mmbench.check DIR``: what would spoil a study on a dataset folder."""

from mmbench.cli import check_command

if __name__ == "__main__":
    check_command()
