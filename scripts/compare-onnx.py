"""Checks ONNX exports of every family: with the checker of the onnx package, and by running them.

A check for developers; the program needs no Python. In an environment with onnx and onnxruntime:

    CONDENSER_KEEP_EXPORTS=FOLDER npx vitest run worker/headless/commands/families.test.ts
    python scripts/compare-onnx.py FOLDER-onnx

Prints a line for each family, and ends with status 1 if one is no valid model, uses operators outside the default set, or
computes logits that differ by more than 1e-4 in a session with default options.
"""

import sys
from pathlib import Path

import numpy
import onnx
import onnxruntime

from compare_families import ROW, compare_families, expected_logits

PADDING = 5


def difference(folder: Path) -> float:
    """The largest difference of a logit, of the row alone and beside a row with padding."""
    file = folder / "model.onnx"
    onnx.checker.check_model(str(file), full_check=True)
    model = onnx.load(str(file), load_external_data=False)
    domains = {opset.domain for opset in model.opset_import} | {node.domain for node in model.graph.node}
    if domains - {""}:
        raise ValueError(f"uses operators of {sorted(domains)}")
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    ours = expected_logits(folder)
    largest = []
    for padding in (0, PADDING):
        ids = numpy.array([ROW + [0] * padding, list(reversed(ROW)) + [1] * padding], dtype=numpy.int64)
        mask = numpy.ones_like(ids)
        mask[0, len(ROW) :] = 0
        logits = session.run(["logits"], {"input_ids": ids, "attention_mask": mask})[0]
        largest.append(numpy.abs(logits[0, : len(ROW)] - ours).max())
    # Unlike Python's own, this maximum keeps what is not a number.
    return float(numpy.max(largest))


if __name__ == "__main__":
    sys.exit(compare_families(difference, f"onnx {onnx.__version__}, onnxruntime {onnxruntime.__version__}"))
