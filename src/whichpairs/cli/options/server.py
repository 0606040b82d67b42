"""Options of the commands that ask an OpenAI-compatible server."""

from typing import Annotated

import typer

KeyVariableOption = Annotated[
    str, typer.Option("--key-variable", help="Name of the environment variable with the key.")
]
AtOnceOption = Annotated[
    int, typer.Option("--requests-at-once", min=1, help="Requests in flight to a server.")
]
PerMinuteOption = Annotated[
    float | None, typer.Option("--requests-per-minute", help="The most; no limit if left out.")
]
RetriesOption = Annotated[
    int, typer.Option("--retries", min=0, help="How often a request that failed is sent again.")
]
TimeoutOption = Annotated[float, typer.Option("--timeout", help="Seconds for one answer.")]
SERVER_OPTIONS = (
    "key_variable",
    "requests_at_once",
    "requests_per_minute",
    "retries",
    "timeout",
)
"""The names of the parameters that these are for."""
