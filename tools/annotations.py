"""What checks the library's annotations, types and shapes, in every call while the tests run.

pytest's option ``--jaxtyping-packages=dvae,annotations.checked`` (in ``pyproject.toml``) decorates
the functions and dataclasses of the library as they are imported.
"""

from __future__ import annotations

from collections.abc import Callable

from beartype import BeartypeConf, beartype

TYPECHECKER = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int is a float too


def checked(function: Callable) -> Callable:
    """Check what a function is called with and returns."""
    # beartype knows Self only in classes that it decorates as a whole
    hints = function.__annotations__
    function.__annotations__ = {n: hint for n, hint in hints.items() if "Self" not in repr(hint)}
    return TYPECHECKER(function)
