"""What all tests share."""

from __future__ import annotations

import os

os.environ.pop("COLUMNS", None)  # what is printed is as wide as it is, whoever starts the tests
