"""The parser of PyYAML, which is libyaml's where that is there (the only importer of yaml).

`import yaml` would load its twin in Python, and what builds and writes values: nine tenths of what it takes, and of no
use here.  So libyaml's is imported from the package before that is initialized.  It asks for the errors of the others,
and raises of a text that can be read only those with a mark, which differ by their names.
"""

from types import SimpleNamespace
from typing import Any

from jobqueued.hollow import uninitialized

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
