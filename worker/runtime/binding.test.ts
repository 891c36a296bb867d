import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect, test } from 'vitest';
import { withTemporaryFolder } from '#core/process/temporary-folder.ts';

const here = (file: string) => JSON.stringify(pathToFileURL(path.join(import.meta.dirname, file)).href);
const program = `
  const { GraphBuilder, op } = await import(${here('../graph/index.ts')});
  const { createRuntime } = await import(${here('index.ts')});
  const builder = new GraphBuilder('square');
  const x = builder.input('x', 'float32', [2]);
  builder.output('y', op.mul(x, x));
  const runtime = createRuntime();
  await runtime.compile(builder.build());
  runtime.release();
`;

// What the library would send it first keeps in files: an identifier of the machine, a session, a log.
test('a process that computes keeps no record of it for the makers of ONNX Runtime', () =>
  withTemporaryFolder('binding', (folder) => {
    const [HOME, TMPDIR] = ['home', 'tmp'].map((name) => path.join(folder, name)) as [string, string];
    for (const empty of [HOME, TMPDIR]) mkdirSync(empty);
    // Nothing of this process's environment: some of it, such as CI, has the same effect.
    const { status, stderr } = spawnSync(
      process.execPath,
      ['--no-warnings', '--input-type=module', '-e', program],
      {
        env: { HOME, TMPDIR },
        encoding: 'utf8',
      },
    );
    expect(stderr).toBe('');
    expect(status).toBe(0);
    expect([HOME, TMPDIR].flatMap((each) => readdirSync(each))).toEqual([]);
  }));
