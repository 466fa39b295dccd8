"""PyYAML's parser, which is libyaml's if installed (this is the only module that imports yaml).

`import yaml` would also load the parser in Python and the code that builds and writes values: nine tenths of the cost,
unused here. So libyaml's parser is imported from the package before that is initialized. It needs the error classes of
the other modules. For readable text it raises only errors with a mark, which differ by their names.
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
