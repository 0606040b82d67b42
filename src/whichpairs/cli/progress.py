"""Progress bars on standard error, where a person is looking."""

import sys
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import TaskID


class Bars:
    """A `whichpairs.types.Progress` that draws with rich; silent where nobody looks."""

    def __init__(self, *, quiet: bool = False) -> None:
        # Here, since every command imports this module, and most draw no bars.
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:.0f}/{task.total}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=Console(file=sys.stderr),
            disable=quiet or not sys.stderr.isatty(),
        )
        self._task: TaskID | None = None

    def __enter__(self) -> "Bars":
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def line(self, text: str) -> None:
        """A line of its own, above the bars; also where nobody looks."""
        self._bars.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def start(self, what: str, total: int | None) -> None:
        """A new bar."""
        self._task = self._bars.add_task(what, total=total, note="")

    def advance(self, units: int = 1, note: str = "") -> None:
        """Move the bar."""
        if self._task is not None:
            self._bars.update(self._task, advance=units, note=note)

    def finish(self) -> None:
        """Fill the bar."""
        if self._task is not None:
            task = self._bars.tasks[self._task]
            self._bars.update(self._task, completed=task.total or task.completed)
        self._task = None
