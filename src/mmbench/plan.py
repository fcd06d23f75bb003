"""``python -m mmbench.plan <overrides>``: what a sweep would cost."""

from mmbench.cli import plan_command

if __name__ == "__main__":
    plan_command()
