"""What stage evaluate is told."""

from dataclasses import dataclass, field, replace
from typing import Annotated

from whichpairs.endpoint.settings import (
    KEY_VARIABLE,
    REQUESTS_AT_ONCE,
    REQUESTS_PER_MINUTE,
    RETRIES,
    TIMEOUT,
)
from whichpairs.errors import UserError
from whichpairs.lm.precision import check_precision
from whichpairs.lm.settings import DEVICE, PRECISION
from whichpairs.setting import SEED, Setting

_SAMPLED = ("--reward", "--judge")
_BY_A_MODEL = ("--reward", "--judge", "--perplexity", "--tasks")


@dataclass(frozen=True)
class EvaluateSettings:
    """What the user chose.

    One of four ways: with a `score` the log-linear policy of a fit is evaluated exactly on the
    pool's own completions; with a `reward` a trained model is sampled; with a `judge` its samples
    are compared with the reference's; `perplexity` and `tasks` (either, or both) ask what the model
    can still do.

    Args:
        score: a score of the pool; reward: a reward folder.
        judge: base URL of an OpenAI-compatible server; judge_model: the judge's name there;
            rubric: what it is to look at; the next five: see `ServerSettings`.
        perplexity: a file of texts (column `text_column`); tasks: a file of multiple-choice items.
        policy: a policy's (or fit's) name; ``reference``; None is the latest.
        against: another policy (or fit) to be compared with, on the same prompts and noise; a judge
            then compares with it in the reference's place.
        temperature: T of r = score / T; None is that of the simulated labels, else 1.
        samples: completions a prompt; max_new_tokens: their length at most (reward and judge only);
            None is that of a generated pool, else 64.
        dtype: of the models' weights and matrix products (all but `score`): ``float32``,
            ``bfloat16`` or ``float16``. KL of 16-bit models then has a floor of some hundredths of
            a nat.
        model: the reference model, for ``reward`` where no policy has been trained yet.
    """

    score: Annotated[str | None, Setting("Evaluate a fit exactly on the pool, by this score.")] = (
        None
    )
    reward: Annotated[
        str | None, Setting("Evaluate a trained model's samples, by this reward folder.")
    ] = None
    policy: Annotated[
        str | None, Setting("Policy or fit; reference; else the latest.", after="tasks")
    ] = None
    temperature: Annotated[
        float | None,
        Setting(
            "T of r = score / T; else that of the labels.",
            read_by=("--score", "--reward"),
            after="against",
        ),
    ] = None
    samples: Annotated[
        int, Setting("Completions a prompt.", read_by=_SAMPLED, after="temperature")
    ] = 8
    max_new_tokens: Annotated[
        int | None,
        Setting(
            "Tokens a completion, at most; else the pool's, or 64.",
            read_by=_SAMPLED,
            after="samples",
        ),
    ] = None
    seed: Annotated[int | None, replace(SEED, read_by=_SAMPLED)] = None
    device: Annotated[str, replace(DEVICE, read_by=_BY_A_MODEL, after="timeout")] = "auto"
    dtype: Annotated[str, replace(PRECISION, read_by=_BY_A_MODEL, after="device")] = "float32"
    model: Annotated[
        str | None,
        Setting(
            "The reference, where no policy has been trained.", read_by=("--reward",), after="dtype"
        ),
    ] = None
    against: Annotated[
        str | None,
        Setting("Another policy or fit to compare with, prompt by prompt.", after="policy"),
    ] = None
    judge: Annotated[
        str | None, Setting("Base URL of an OpenAI-compatible server that judges.", after="reward")
    ] = field(default=None, repr=False)
    judge_model: Annotated[
        str, Setting("The judge's name on its server.", read_by=("--judge",), after="judge")
    ] = ""
    rubric: Annotated[
        str | None,
        Setting("What the judge is to look at.", read_by=("--judge",), after="judge_model"),
    ] = None
    key_variable: Annotated[
        str, replace(KEY_VARIABLE, read_by=("--judge",), after="max_new_tokens")
    ] = "OPENAI_API_KEY"
    requests_at_once: Annotated[
        int, replace(REQUESTS_AT_ONCE, read_by=("--judge",), after="key_variable")
    ] = 8
    requests_per_minute: Annotated[
        float | None, replace(REQUESTS_PER_MINUTE, read_by=("--judge",), after="requests_at_once")
    ] = None
    retries: Annotated[int, replace(RETRIES, read_by=("--judge",), after="requests_per_minute")] = 6
    timeout: Annotated[float, replace(TIMEOUT, read_by=("--judge",), after="retries")] = 120.0
    perplexity: Annotated[
        str | None,
        Setting("Texts: lines of a .txt, or a column of JSONL or Parquet.", after="rubric"),
    ] = None
    text_column: Annotated[
        str, Setting("Their column.", read_by=("--perplexity",), after="perplexity")
    ] = "text"
    tasks: Annotated[
        str | None,
        Setting("JSONL of context, choices and answer (a place from 0).", after="text_column"),
    ] = None

    def __post_init__(self) -> None:
        ways = {
            "--score": self.score,
            "--reward": self.reward,
            "--judge": self.judge,
            "--perplexity or --tasks": self.perplexity or self.tasks,
        }
        given = [name for name, value in ways.items() if value is not None]
        if len(given) != 1:
            raise UserError(
                "evaluate takes either --score COLUMN (the fit, on the pool), --reward FOLDER"
                " (a trained model, sampled), --judge URL, or --perplexity and --tasks FILE",
                f"got {' and '.join(given) or 'none'}",
            )
        check_precision(self.dtype)
        if self.samples < 1 or (self.max_new_tokens is not None and self.max_new_tokens < 1):
            raise UserError(
                "samples and max-new-tokens must be at least 1",
                f"got {self.samples} and {self.max_new_tokens}",
            )

    @property
    def precision(self) -> dict[str, str]:
        """`dtype`, as a manifest has it: written only where it is not the default."""
        return {} if self.dtype == type(self).dtype else {"dtype": self.dtype}
