"""``python -m mmbench.encode DIR``: vectors for the texts and images of a dataset folder."""

from mmbench.cli import encode_command

if __name__ == "__main__":
    encode_command()
