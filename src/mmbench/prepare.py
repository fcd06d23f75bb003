"""``python -m mmbench.prepare``: make a dataset folder of a log of one's own or of an MMRec folder."""

from mmbench.cli import prepare_command

if __name__ == "__main__":
    prepare_command()
