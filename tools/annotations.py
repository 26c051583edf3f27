"""What checks the library's annotations, types and shapes, in every call while the tests run.

pytest's option ``--jaxtyping-packages=dvae,annotations.checked`` (in ``pyproject.toml``) decorates
the functions and dataclasses of the library as they are imported.
"""

from __future__ import annotations

from collections.abc import Callable

from beartype import BeartypeConf, beartype

TYPECHECKER = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int is a float too
_made: dict[tuple, list[tuple[dict, Callable]]] = {}  # checks of functions inside functions


def checked(function: Callable) -> Callable:
    """Check what a function is called with and returns.

    ``function`` has the signature of one of the library and none of its code, so that the checks
    of a function inside another, which is decorated anew in every call of the other, are made
    once: they depend on parameters and annotations only.
    """
    # beartype knows Self only in classes that it decorates as a whole
    hints = function.__annotations__
    function.__annotations__ = {n: hint for n, hint in hints.items() if "Self" not in repr(hint)}
    if "<locals>" not in function.__qualname__:
        return TYPECHECKER(function)
    defaults = len(function.__defaults__ or ()), tuple(function.__kwdefaults__ or ())
    key = function.__module__, function.__qualname__, function.__code__, defaults
    made = _made.setdefault(key, [])
    for hints, check in made:  # a list, since not every annotation has a hash
        if hints == function.__annotations__:
            return check
    made.append((function.__annotations__, TYPECHECKER(function)))
    return made[-1][1]
