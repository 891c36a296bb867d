"""The padded loop of scripts/bench-padding.ts in PyTorch: the same micro-batches, full fine-tuning in float32.

A check for developers; the program needs no Python. In an environment with torch and transformers:

    node scripts/bench-padding.ts --data ROWS.jsonl --model MODEL --write BATCHES
    python scripts/bench-padding-peer.py MODEL BATCHES [THREADS]

Padding goes through attention and experts like any token; only attention masks it and the loss leaves it out. The longest
micro-batch comes first once more and is not measured.
"""

import json
import sys
import time
from pathlib import Path

import torch
import transformers

LEARNING_RATE = 1e-5
IGNORED = -100


def main(model_dir: str, batches_file: str, threads: str | None = None) -> None:
    if threads is not None:
        torch.set_num_threads(int(threads))
    model = transformers.AutoModelForCausalLM.from_pretrained(
        model_dir, dtype=torch.float32, experts_implementation="grouped_mm"
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.0, fused=True)
    batches = [json.loads(line) for line in Path(batches_file).read_text().splitlines()]

    def step(batch: dict) -> tuple[int, int]:
        shape = (batch["batch"], batch["sequence"])
        ids, labels, segments = (torch.tensor(batch[name]).view(shape) for name in ("ids", "labels", "segments"))
        mask = (segments > 0).long()
        loss = model(input_ids=ids, attention_mask=mask, labels=labels, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return int(mask.sum()), int((labels[:, 1:] != IGNORED).sum())

    step(max(batches, key=lambda batch: batch["batch"] * batch["sequence"]))
    started, before = time.perf_counter(), time.process_time()
    counts = [step(batch) for batch in batches]
    seconds, processor = time.perf_counter() - started, time.process_time() - before
    tokens, trained = (sum(column) for column in zip(*counts))
    print(
        f"PyTorch, padded: {len(batches)} steps, {trained / seconds:.0f} trained tokens/s, "
        f"{1000 * processor / tokens:.3f} ms of processor time a token that is not padding"
    )


main(*sys.argv[1:])
