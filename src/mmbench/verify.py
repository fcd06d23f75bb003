"""``python -m mmbench.verify``: compute every table of an archive again from its records."""

from mmbench.cli import verify_command

if __name__ == "__main__":
    verify_command()
