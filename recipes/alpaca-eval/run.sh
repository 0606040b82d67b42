#!/usr/bin/env bash
# A real pool: AlpacaEval's 805 prompts with completions by 56 models, labels simulated from its judge.
# usage: run.sh alpaca_eval_core.parquet RUN [criterion]
set -euo pipefail
data=$1 run=$2 criterion=${3:-gap}
whichpairs=$(dirname "$0")/../../.venv/bin/whichpairs

"$whichpairs" import "$data" --run "$run" --prompt-id-column prompt_id \
  --score-column judge_logit --holdout 0.2 --beta 1.0
"$whichpairs" features --run "$run" --method text --dim 32
"$whichpairs" select --run "$run" --budget 500 --criterion "$criterion" --controls 1000 --threads 2
"$whichpairs" label --run "$run" --simulate judge_logit --temperature 4
"$whichpairs" fit --run "$run"
"$whichpairs" evaluate --run "$run" --score judge_logit
"$whichpairs" report --run "$run"
"$whichpairs" status --run "$run"
