"""An attempt's Output in a test, and the descriptors that none may leave open."""

from __future__ import annotations

import os
from typing import Any

from jobqueued.child.report.output import OutputPump


def shut(output: OutputPump) -> dict[str, Any]:
    """Close it; what it had reported."""
    found = output.report()
    output.shut()
    return found


def descriptors() -> set[int]:
    """What we have open."""
    return {int(name) for name in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{name}")}
