"""``python -m mmbench.signal dataset=NAME``: is a trial of a modality worth it?"""

from mmbench.cli import signal_command

if __name__ == "__main__":
    signal_command()
