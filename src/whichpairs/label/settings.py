"""What answers drawn from a score are told."""

from whichpairs.errors import UserError


def check_temperature(temperature: float) -> None:
    """Raise a `UserError` unless T is finite and above 0."""
    if not 0.0 < temperature < float("inf"):
        raise UserError("temperature must be a finite number above 0", f"got {temperature}")
