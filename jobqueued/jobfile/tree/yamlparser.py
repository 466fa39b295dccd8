"""PyYAML's parser, in the libyaml version if available. No other module imports yaml.

`import yaml` would also load the Python parser and the code that builds and writes values. They cause nine tenths of
the cost, and are not used here. So this module imports libyaml's parser without running the package's `__init__`. For
text that can be decoded, the parser raises only errors with a mark; their class names differ.
"""

from types import SimpleNamespace
from typing import Any

from jobqueued.base.import_stubs import uninitialized

__all__ = ["PARSER", "MarkedYAMLError", "YAMLError", "events"]

_OTHERS = ("reader", "scanner", "parser", "composer", "constructor", "emitter", "serializer", "representer")

PARSER: Any
try:
    with uninitialized("yaml") as package:
        from yaml import events, nodes, tokens  # noqa: F401
        from yaml.error import MarkedYAMLError, YAMLError

        for name in _OTHERS:
            vars(package).setdefault(name, SimpleNamespace(**{f"{name.title()}Error": MarkedYAMLError}))
        from yaml._yaml import CParser
    PARSER = CParser
except ImportError:  # PyYAML was built without libyaml
    from yaml import SafeLoader

    PARSER = SafeLoader
