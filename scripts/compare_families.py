"""What scripts/compare-exports.py and scripts/compare-onnx.py share: which logits are expected, and a line for each family."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy

LIMIT = 1e-4
# The row of worker/headless/commands/families.test.ts.
ROW = [5 + 7 * place % 90 for place in range(12)]


def expected_logits(folder: Path) -> numpy.ndarray:
    """Logits [12, vocabulary] of the row, as the run computed them that was exported to `folder`."""
    return numpy.fromfile(folder.with_name(folder.name + ".logits"), dtype="<f4").reshape(len(ROW), -1)


def compare_families(difference: Callable[[Path], float], versions: str) -> int:
    """Prints the largest difference of a logit for every export below the folder of the command line; returns the exit status."""
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
    print(f"{len(folders) - bad} of {len(folders)} families agree ({versions})")
    return 1 if bad or not folders else 0
