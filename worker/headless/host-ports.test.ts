/** What the host is given, in a process of its own. */
import { execFileSync } from 'node:child_process';
import path from 'node:path';
import { expect, test } from 'vitest';

test('a host looks at machine, model and run without loading ONNX Runtime', () => {
  const root = path.join(import.meta.dirname, '../..');
  const spec = {
    model: { path: path.join(root, 'resources/sample/sample-moe') },
    data: { train: [{ path: path.join(root, 'resources/sample/data/word-problems.jsonl') }] },
    method: { name: 'full' },
  };
  const script = `
    import { parseRunSpec } from '#core/contract/run-spec.ts';
    import { enginePorts } from '#worker/headless/host-ports.ts';
    const spec = parseRunSpec(${JSON.stringify(spec)});
    const ports = enginePorts(${JSON.stringify(root)});
    const { providers } = await ports.device();
    const model = await ports.models.inspect(spec.model.path);
    const plan = await ports.planner.plan(spec);
    const view = { modelPath: spec.model.path, maxLength: 64, lossOn: 'completion' };
    const { mapping } = await ports.data.open(spec.data.train[0].path);
    await ports.data.preview({ path: spec.data.train[0].path, mapping }, view, 1, 2);
    const { sharedObjects } = process.report.getReport();
    console.log(JSON.stringify({ providers, layers: model.layers, ok: plan.ok, sharedObjects }));
  `;
  const said: unknown = JSON.parse(
    execFileSync(process.execPath, ['--no-warnings', '--input-type=module', '-e', script], {
      cwd: root,
      encoding: 'utf8',
      env: { ...process.env, VK_ICD_FILENAMES: '/nonexistent.json' },
    }),
  );
  expect(said).toMatchObject({
    layers: 4,
    ok: true,
    providers: [
      { name: 'cpu', used: true, reason: 'Trains here.' },
      { name: 'webgpu', used: false, reason: 'No graphics adapter that WebGPU can use was found.' },
      { name: 'cuda', used: false },
    ],
  });
  const { sharedObjects } = said as { sharedObjects: string[] };
  expect(sharedObjects.length).toBeGreaterThan(0);
  expect(sharedObjects.filter((file) => file.includes('onnxruntime'))).toEqual([]);
});
