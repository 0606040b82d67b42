"""In which numbers a model that is only read holds its weights and computes; free of torch."""

from whichpairs.errors import UserError

PRECISIONS = ("float32", "bfloat16", "float16")


def check_precision(dtype: str) -> None:
    """A precision is one of `PRECISIONS`.

    Raises:
        UserError: it is not.
    """
    if dtype not in PRECISIONS:
        raise UserError(f"dtype must be one of {', '.join(PRECISIONS)}", f"got {dtype}")
