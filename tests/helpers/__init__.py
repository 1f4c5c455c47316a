"""What the tests share that is no fixture."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
