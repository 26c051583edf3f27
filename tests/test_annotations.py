"""What checks annotations while tests run: every call of every function, inside others too."""

import jaxtyping
import pytest

from annotations import checked


def made(kind):
    """A function inside this one, as the library's are decorated: anew in every call."""

    @jaxtyping.jaxtyped(typechecker=checked)
    def inside(value: kind, answer=None, *, more: int = 0) -> kind:
        return value if answer is None else answer

    return inside


@pytest.mark.parametrize("kind", [int, str])
def test_a_function_made_again_is_checked_again(kind):
    right, wrong = {int: (1, "one"), str: ("one", 1)}[kind]
    for _ in range(3):
        inside = made(kind)
        assert inside(right) == right
        for arguments, options in (((wrong,), {}), ((right, wrong), {}), ((right,), {"more": "x"})):
            with pytest.raises(jaxtyping.TypeCheckError):
                inside(*arguments, **options)
