"""What several tests use."""

from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
"""The project's directory."""
