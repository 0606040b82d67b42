"""Stage report: one self-contained HTML page on what was picked, how good that is, what it gained."""

from pathlib import Path

from whichpairs.errors import UserError
from whichpairs.run.files import write_whole
from whichpairs.run.once import Outcome


def report(
    run: str | Path,
    out: Path | None = None,
    *,
    beta: float | None = None,
    cost_per_label: float | None = None,
    seconds_per_label: float | None = None,
) -> Outcome:
    """Write the page. Reads the run only; another process may be at work on it.

    The result names the sections that have something to show, and for the others the command that
    would fill them.

    Args:
        run: the run folder; out: the HTML file, RUN/report.html when None.
        beta: what the caller takes the run's β to be; None is no opinion.
        cost_per_label: price of a label, any currency; None says nothing of money.
        seconds_per_label: that one takes; None is the median of the times that the labelling page
            took down, where there are any.

    Raises:
        UserError: no run is there, it has another β, a price or a time is not above 0, or `out`
            cannot be written.
    """
    for name, value in (("cost", cost_per_label), ("seconds", seconds_per_label)):
        if value is not None and not 0.0 < value < float("inf"):
            raise UserError(f"{name} per label must be a finite number above 0", f"got {value}")
    path = Path(run) / "report.html" if out is None else Path(out)
    if path.is_dir():
        raise UserError("--out must name a file", f"{path} is a folder")
    # Pictures and templates: not light.
    from whichpairs.report.compose import compose
    from whichpairs.report.data.effort import Prices

    page = compose(Path(run), beta, Prices(cost_per_label, seconds_per_label))
    write_whole(path, page.html)
    missing = {s.id: s.missing.command for s in page.sections if s.missing is not None}
    shown = [s.id for s in page.sections if s.missing is None]
    message = f"Report: {path}"
    if missing:
        message += f" (nothing yet on: {', '.join(missing)})"
    result = {"file": str(path), "sections": shown, "missing": missing}
    return Outcome(message, result, folder=path.parent)
