"""Shared by all tests: shapes are checked as they run, and small pools."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from jaxtyping import install_import_hook

install_import_hook("whichpairs.design", "beartype.beartype")
