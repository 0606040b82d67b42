"""Where a language model computes, and how exactly: what a user can set."""

from whichpairs.setting import Setting

DEVICE = Setting("cpu, cuda, mps or auto.")
PRECISION = Setting("The model computes in float32, bfloat16 or float16.", flags=("--dtype",))
