"""What stage label is told of a judge."""

from dataclasses import dataclass, field, replace
from typing import Annotated

from whichpairs.endpoint.settings import (
    KEY_VARIABLE,
    REQUESTS_AT_ONCE,
    REQUESTS_PER_MINUTE,
    RETRIES,
    TIMEOUT,
)
from whichpairs.setting import Setting


@dataclass(frozen=True)
class JudgeSettings:
    """Which language model judges.

    Args:
        server: its base URL; model: its name there.
        rubric: what it is asked to look at; None: `label.judge.RUBRIC`.
        key_variable, requests_at_once, requests_per_minute, retries, timeout: see
            `ServerSettings`.
    """

    server: Annotated[
        str, Setting("Base URL of an OpenAI-compatible server that judges.", flags=("--judge",))
    ] = field(repr=False)
    model: Annotated[
        str,
        Setting(
            "The judge's name on its server.",
            flags=("--judge-model",),
            default="",
            read_by=("--judge",),
        ),
    ]
    rubric: Annotated[
        str | None, Setting("What the judge is to look at.", read_by=("--judge",))
    ] = None
    key_variable: Annotated[str, replace(KEY_VARIABLE, read_by=("--judge",))] = "OPENAI_API_KEY"
    requests_at_once: Annotated[int, replace(REQUESTS_AT_ONCE, read_by=("--judge",))] = 8
    requests_per_minute: Annotated[
        float | None, replace(REQUESTS_PER_MINUTE, read_by=("--judge",))
    ] = None
    retries: Annotated[int, replace(RETRIES, read_by=("--judge",))] = 6
    timeout: Annotated[float, replace(TIMEOUT, read_by=("--judge",))] = 120.0
