"""`python -m tasks.flower`: Flower beside the product, with its password from the admin key never from arguments."""

from __future__ import annotations

from pathlib import Path

from tasks.celery import celery

if __name__ == "__main__":
    celery.start(["--quiet", "flower", f"--conf={Path(__file__).with_name('flowerconfig.py')}"])
