"""The command line: one thin file a stage, loaded when it is called."""

from whichpairs.cli.main import main

__all__ = ["main"]
