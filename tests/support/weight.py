"""What something holds in memory, for tests of what may not grow."""

from __future__ import annotations

import gc
from collections.abc import Callable
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any

_CODE = (type, ModuleType, FunctionType, BuiltinFunctionType, CodeType)


def weight(*held: Any) -> int:
    """The number of objects that hang on these, without what is code."""
    seen, todo = dict[int, Any](), list(held)
    while todo:
        each = todo.pop()
        if id(each) not in seen and not isinstance(each, _CODE):
            seen[id(each)] = each
            todo += gc.get_referents(each)
            todo += each if isinstance(each, dict) else ()  # the collector passes over keys that are texts
    return len(seen)


def circles(what: Callable[[], object]) -> set[str]:
    """The kinds of objects that something leaves behind in circles, which only the collector can remove."""
    gc.collect()
    gc.disable()
    try:
        what()
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        return {type(each).__name__ for each in gc.garbage}
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
        gc.collect()
