"""What several tests use."""

from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
"""The project's directory."""
EXAMPLES = REPO / "etc" / "jobqueue.d" / "examples.yaml"
"""The shipped job file.  Beside it users of the checkout save their own, which no test may read."""
