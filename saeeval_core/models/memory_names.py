"""Names of models and dictionaries that exist only as objects of a Python session: memory:LABEL-HASH.

The hash is of their content, so that what was recorded of them is found again, and never taken for something else.
"""

import re

_NAME = re.compile(r"memory:(.{1,60})-[0-9a-f]{12}", re.DOTALL)
_PLAIN = re.compile(r"[^\w.+-]+")


def memory_name(label: str, fingerprint: str) -> str:
    """The name of an object whose content has this fingerprint, at least 12 hex digits."""
    return f"memory:{_PLAIN.sub('_', label)[:60] or 'unnamed'}-{fingerprint[:12]}"


def memory_label(name: str) -> str:
    """What its owner calls an object in memory; "" for the name of anything else."""
    match = _NAME.fullmatch(name)
    return match[1] if match else ""


def was_in_memory(kind: str, name: str, instead: str) -> str:
    """The line for an object that cannot be loaded by its name."""
    return f"the {kind} '{name}' was an object of a Python session; what it recorded can be scored, but it cannot be loaded: {instead}"
