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

LIMIT = 1e-4
# The row of worker/headless/commands/families.test.ts.
ROW = [5 + 7 * place % 90 for place in range(12)]


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
    ours = numpy.fromfile(folder.with_name(folder.name + ".logits"), dtype="<f4")
    return float(numpy.abs(ours.reshape(logits.shape) - logits).max())


def main() -> int:
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    folders = sorted(path for path in Path(sys.argv[1]).iterdir() if path.is_dir())
    bad = 0
    for folder in folders:
        try:
            largest = difference(folder)
            ok = largest <= LIMIT
            print(f"{'ok  ' if ok else 'FAIL'} {folder.name}: {largest:.1e}")
        except Exception as error:  # Every family gets its line.
            ok = False
            print(f"FAIL {folder.name}: {type(error).__name__}: {error}")
        bad += not ok
    print(f"{len(folders) - bad} of {len(folders)} families agree (torch {torch.__version__}, transformers {transformers.__version__})")
    return 1 if bad or not folders else 0


if __name__ == "__main__":
    sys.exit(main())
