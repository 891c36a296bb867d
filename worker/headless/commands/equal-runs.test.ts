/** Two runs of one document. */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { openRunReader, runFiles } from '#core/store/index.ts';
import { condenser, makeSite } from './cli.fixture.ts';

/** What the run in `dir` recorded and kept, but for times and memory. */
function recordsOf(dir: string) {
  const reader = openRunReader(runFiles(dir).db);
  try {
    const { steps, evaluations, events } = reader.series();
    return {
      steps: steps.map((step) => ({ ...step, wallMs: 0, tokensPerSecond: 0, rssMB: 0 })),
      evaluations,
      events: events.map((event) => ({ ...event, wallMs: 0 })),
      routing: reader.routing(),
      checkpoints: reader
        .checkpoints()
        .map(({ path: folder }) => readFileSync(path.join(folder, 'tensors.safetensors'), 'base64')),
    };
  } finally {
    reader.close();
  }
}

test('a run beside a busy program records and keeps the same bits as one before it', async () => {
  const site = makeSite();
  const train = async (name: string) => {
    const dir = path.join(site.dir, name);
    const { status, stderr } = await condenser('train', site.runFile, '--out', dir, '--home', site.home);
    expect(status, stderr).toBe(0);
    return recordsOf(dir);
  };
  try {
    const quiet = await train('quiet');
    expect([quiet.steps.length, quiet.routing.length, quiet.checkpoints.length]).toEqual([4, 4, 2]);
    const busy = spawn(process.execPath, ['-e', 'for (;;);'], { stdio: 'ignore' });
    const beside = await train('beside').finally(() => busy.kill('SIGKILL'));
    expect(beside).toEqual(quiet);
  } finally {
    site.remove();
  }
});
