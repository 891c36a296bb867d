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

LIMIT = 1e-4
# The row of worker/headless/commands/families.test.ts.
ROW = [5 + 7 * place % 90 for place in range(12)]
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
    ours = numpy.fromfile(folder.with_name(folder.name + ".logits"), dtype="<f4").reshape(len(ROW), -1)
    largest = 0.0
    for padding in (0, PADDING):
        ids = numpy.array([ROW + [0] * padding, list(reversed(ROW)) + [1] * padding], dtype=numpy.int64)
        mask = numpy.ones_like(ids)
        mask[0, len(ROW) :] = 0
        logits = session.run(["logits"], {"input_ids": ids, "attention_mask": mask})[0]
        largest = max(largest, float(numpy.abs(logits[0, : len(ROW)] - ours).max()))
    return largest


def main() -> int:
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
    print(f"{len(folders) - bad} of {len(folders)} families agree (onnx {onnx.__version__}, onnxruntime {onnxruntime.__version__})")
    return 1 if bad or not folders else 0


if __name__ == "__main__":
    sys.exit(main())
