"""PyYAML's parser: libyaml's if available. No other module imports yaml.

`import yaml` would also load the parser in Python and the code that builds and writes values: nine tenths of the cost,
unused here. So this module imports libyaml's parser without running the package's `__init__`. For text that can be
decoded, the parser raises only errors with a mark; their class names differ.
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
