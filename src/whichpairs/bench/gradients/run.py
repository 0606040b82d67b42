"""What gradient features cost and what they keep: `make bench-gradients` writes the page.

Speed (P8): projected per-completion gradients a second ÷ plain batched forward + backward passes a
second, the same model, batch and run, interleaved. Memory: peak resident size at two pool sizes.
Then, on a pool that the recipe's model writes: the fidelity figure by dimension and projection, and
which features predict preferences (`gradients_quality`).
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from whichpairs.bench.markdown import About, write_page
from whichpairs.run.files import write_whole

if TYPE_CHECKING:
    from whichpairs.features.layers import Layer
    from whichpairs.features.projection import Projection
    from whichpairs.lm.encode import Encoded
    from whichpairs.lm.model import LanguageModel

DIM, SEED, AGREEMENT = 256, 0, 1e-4
MEASURES = ("whichpairs.bench.gradients.run",)
"""Where the measuring of this page begins."""

CHECKED = 3
"""Completions whose features are compared with autograd's whole gradient, projected explicitly."""


def main() -> None:
    """Run everything and write ``gradients.json`` and ``gradients.md``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", default="recipes/imdb/model")
    parser.add_argument("--reward", default="recipes/imdb/reward")
    parser.add_argument("--results", type=Path, default=Path("docs/results"))
    parser.add_argument("--quick", action="store_true", help="smaller pools, fewer repetitions")
    settings = parser.parse_args()
    import torch

    from whichpairs.bench.gradients import page as gradients_page
    from whichpairs.bench.gradients import quality as gradients_quality

    torch.set_num_threads(1)
    began = time.perf_counter()
    about = About("make bench-gradients", MEASURES)
    found: dict[str, Any] = {"seed": SEED, "quick": settings.quick, "threads": 1}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        found["speed"] = speeds(settings.model, folder, 3 if settings.quick else 9)
        found["memory"] = memory(folder, settings.model, settings.quick)
        found |= gradients_quality.measure(settings.model, settings.reward, folder, settings.quick)
    found["seconds"] = time.perf_counter() - began
    page = gradients_page.page(about.head() | found)
    write_page(
        settings.results, "gradients", about, gradients_page.figures(found, DIM), found, page
    )
    print(page)


def speeds(model: str, folder: Path, repetitions: int) -> list[dict[str, Any]]:
    """P8 for the recipe's model and a larger GPT-2 of random weights."""
    from whichpairs.lm.model import load

    random_gpt2(folder / "larger", model, {"n_embd": 384, "n_layer": 10, "n_head": 6})
    cases = ((model, 64, 34, "recipes/imdb/model"), (folder / "larger", 16, 64, "random GPT-2"))
    return [
        {"model": name, **speed(load(path, device="cpu"), batch, tokens, repetitions)}
        for path, batch, tokens, name in cases
    ]


def speed(lm: "LanguageModel", batch: int, tokens: int, repetitions: int) -> dict[str, Any]:
    """Gradients a second with and without a row for each completion, and their ratio.

    The plain pass has gradients of all parameters, summed over the batch, as training has.
    """
    from whichpairs.features.gradient import batch_gradients
    from whichpairs.features.layers import find_layers
    from whichpairs.features.projection import build_projection

    encoded, layers = _sequences(lm, batch, tokens), find_layers(lm.model)
    projection = build_projection(layers, DIM, SEED)
    rows = batch_gradients(lm, encoded, layers, projection)
    error = max(
        _distance(row, explicit_projection(lm, one, layers, projection))
        for row, one in zip(rows[:CHECKED], encoded, strict=False)
    )
    if error > AGREEMENT:
        raise AssertionError(f"features differ from the explicit projection by {error:.2g}")
    ours, plain = [], []
    for _ in range(repetitions + 1):
        plain.append(_seconds(lambda: plain_pass(lm, encoded)))
        ours.append(_seconds(lambda: batch_gradients(lm, encoded, layers, projection)))
    rates = {"projected": batch / np.array(ours[1:]), "plain": batch / np.array(plain[1:])}
    ratio = rates["projected"] / rates["plain"]
    return {
        "parameters": sum(p.numel() for p in lm.model.parameters()),
        "batch": batch,
        "tokens": tokens,
        "dim": DIM,
        "largest_relative_error": error,
        **{f"{name}_per_second": _spread(values) for name, values in rates.items()},
        "ratio": _spread(ratio),
    }


def explicit_projection(
    lm: "LanguageModel", one: "Encoded", layers: "Sequence[Layer]", p: "Projection"
) -> np.ndarray:
    """P g from the whole gradient of one completion, by autograd, without hooks or padding."""
    import torch

    named = {n: v.requires_grad_(True) for n, v in lm.model.named_parameters()}
    ids = torch.tensor([one.prompt_ids + one.completion_ids])
    logp = lm.model(input_ids=ids).logits[0, :-1].log_softmax(-1)
    total = logp.gather(-1, ids[0, 1:, None])[len(one.prompt_ids) - 1 :].sum()
    found = torch.autograd.grad(total, list(named.values()))
    lm.model.requires_grad_(False)
    g = dict(zip(named, found, strict=True))
    blocks = torch.zeros(1, len(p.signs))
    for name, place in p.places.items():
        if name in p.sides:
            left, right = p.sides[name]
            blocks[0, place] = (left @ g[name] @ right.T).flatten()
        else:
            blocks[0, place] = g[name]
    for layer in layers:
        if layer.is_matrix and layer.bias is not None:
            (left, right), b, v = p.sides[layer.weight], p.biases[layer.bias], g[layer.bias]
            conv = layer.kind == "conv1d"
            outer = torch.outer(b, right @ v) if conv else torch.outer(left @ v, b)
            blocks[0, p.places[layer.weight]] += outer.flatten()
    folded: np.ndarray = p.fold(blocks)[0].numpy()
    return folded


def plain_pass(lm: "LanguageModel", encoded: "Sequence[Encoded]") -> None:
    """Forward and backward of the batch's summed log-likelihood, all parameters."""
    from whichpairs.lm.batch import pad
    from whichpairs.lm.logprobs import token_logprobs

    lm.model.requires_grad_(True)
    logprobs, mask = token_logprobs(lm, pad(encoded, lm.tokenizer.pad_token_id, lm.device))
    (logprobs * mask).sum().backward()  # type: ignore[no-untyped-call]
    lm.model.requires_grad_(False)
    lm.model.zero_grad(set_to_none=True)


def random_gpt2(path: Path, like: str, shape: dict[str, int]) -> None:
    """A GPT-2 of random weights, with the tokenizer of another model, in a folder."""
    import torch
    from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel

    tokenizer = AutoTokenizer.from_pretrained(like)
    torch.manual_seed(SEED)
    end = int(tokenizer.eos_token_id)
    more: dict[str, Any] = {**shape, "bos_token_id": end, "eos_token_id": end}
    config = GPT2Config(**{"vocab_size": len(tokenizer), "n_positions": 128, **more})
    GPT2LMHeadModel(config).save_pretrained(path)
    tokenizer.save_pretrained(path)


def memory(folder: Path, model: str, quick: bool) -> list[dict[str, Any]]:
    """Peak resident memory of `whichpairs features` at two pool sizes, in processes of their
    own."""
    random_gpt2(folder / "small", model, {"n_embd": 32, "n_layer": 2, "n_head": 2})
    return [_memory(folder, rows) for rows in ((1000, 4000) if quick else (5000, 40000))]


def _memory(folder: Path, rows: int) -> dict[str, Any]:
    """One pool of short completions, eight a prompt; projection and fidelity as by default."""
    rng, run = np.random.default_rng(SEED), folder / f"memory-{rows}"
    words = np.array(
        ["the", "a", "film", "was", "good", "bad", "long", "fine", "dull", "but", "not"]
    )
    lines = [
        json.dumps({"prompt": f"Film {k // 8}:", "completion": " ".join(rng.choice(words, 6))})
        for k in range(rows)
    ]
    write_whole(folder / f"memory-{rows}.jsonl", "\n".join(lines) + "\n")
    code = "import resource, sys; from whichpairs.cli import main\ntry: main(sys.argv[1:])\n"
    code += "except SystemExit: print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    words_ = [sys.executable, "-c", code]
    began, peak = time.perf_counter(), 0
    for command in (
        ["import", str(folder / f"memory-{rows}.jsonl"), "--run", str(run)],
        ["features", "--run", str(run), "--method", "gradient", "--model", str(folder / "small")],
    ):
        began = time.perf_counter()
        done = subprocess.run(
            [*words_, *command], check=True, capture_output=True, text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        peak = int(done.stdout.split()[-1])
    seconds = time.perf_counter() - began
    return {"completions": rows, "peak_mb": peak / 1024, "seconds": seconds}


def _sequences(lm: "LanguageModel", batch: int, tokens: int) -> "list[Encoded]":
    from whichpairs.lm.encode import Encoded

    rng = np.random.default_rng(SEED)
    ids = rng.integers(1, len(lm.tokenizer), (batch, tokens))
    return [Encoded(tuple(row[:10]), tuple(row[10:])) for row in ids.tolist()]


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _distance(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def _spread(values: np.ndarray) -> dict[str, float]:
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    return {"median": float(middle), "quartile_1": float(low), "quartile_3": float(high)}


if __name__ == "__main__":
    main()
