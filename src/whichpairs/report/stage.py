"""Stage report: one self-contained HTML page on what was picked, how good that is, what it gained."""

from pathlib import Path

from whichpairs.errors import UserError
from whichpairs.run.files import write_whole
from whichpairs.run.once import Outcome


def report(run: str | Path, out: Path | None = None, *, beta: float | None = None) -> Outcome:
    """Write the page. Reads the run only; another process may be at work on it.

    The result names the sections that have something to show, and for the others the command that
    would fill them.

    Args:
        run: the run folder; out: the HTML file, RUN/report.html when None.
        beta: what the caller takes the run's β to be; None is no opinion.

    Raises:
        UserError: no run is there, it has another β, or `out` cannot be written.
    """
    path = Path(run) / "report.html" if out is None else Path(out)
    if path.is_dir():
        raise UserError("--out must name a file", f"{path} is a folder")
    from whichpairs.report.compose import compose  # pictures and templates: not light

    page = compose(Path(run), beta)
    write_whole(path, page.html)
    missing = {s.id: s.missing.command for s in page.sections if s.missing is not None}
    shown = [s.id for s in page.sections if s.missing is None]
    message = f"Report: {path}"
    if missing:
        message += f" (nothing yet on: {', '.join(missing)})"
    result = {"file": str(path), "sections": shown, "missing": missing}
    return Outcome(message, result, folder=path.parent)
