"""``python -m mmbench.bundle``: a sweep as one archive that anybody can check."""

from mmbench.cli import bundle_command

if __name__ == "__main__":
    bundle_command()
