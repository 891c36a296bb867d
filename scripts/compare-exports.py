"""Compares exports of every family with transformers: the logits of one row, in float32.

A check for developers; the program needs no Python. In an environment with torch and transformers:

    CONDENSER_KEEP_EXPORTS=FOLDER npx vitest run worker/headless/commands/families.test.ts
    python scripts/compare-exports.py FOLDER

Prints a line for each family, and ends with status 1 if one differs by more than 1e-4, cannot be loaded, or lacks or has
tensors that transformers does not expect.
"""

import sys
from pathlib import Path

import numpy
import torch
import transformers

from compare_families import ROW, compare_families, expected_logits


def difference(folder: Path) -> float:
    """The largest difference of a logit, after loading without a missing or left-over tensor."""
    model, info = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True
    )
    wrong = {kind: names for kind, names in info.items() if names}
    if wrong:
        raise ValueError(f"loaded with {wrong}")
    with torch.no_grad():
        logits = model.eval()(input_ids=torch.tensor([ROW])).logits[0].numpy()
    return float(numpy.abs(expected_logits(folder) - logits).max())


if __name__ == "__main__":
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    sys.exit(compare_families(difference, f"torch {torch.__version__}, transformers {transformers.__version__}"))
