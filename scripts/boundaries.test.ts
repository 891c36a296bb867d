import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { areaOf, findCycles, findViolations, type Import } from './boundaries.ts';
import { collectImports, specifiersOf } from './check-boundaries.ts';

const file = (from: string, to: string): Import => ({ from, to, local: true });
const pack = (from: string, to: string): Import => ({ from, to, local: false });

describe('refused', () => {
  test.each([
    [pack('core/host/create-host.ts', 'electron'), 'only electron/ may import electron'],
    [pack('core/report/to-html.ts', 'react-dom'), 'only renderer/ may import react-dom'],
    [pack('worker/engine/executor.ts', 'onnxruntime-node'), 'only worker/runtime/'],
    [pack('worker/graph/graph.test.ts', 'onnxruntime-node'), 'only worker/runtime/'],
    [pack('worker/train/trainer.ts', 'better-sqlite3'), 'only core/store/'],
    [pack('worker/graph/print.ts', 'node:fs'), 'no package but zod'],
    [pack('core/contract/run-spec.ts', 'ws'), 'no package but zod'],
    [file('worker/methods/lora.ts', 'worker/families/index.ts'), 'may not import worker/families/'],
    [file('worker/families/olmoe.ts', 'worker/methods/index.ts'), 'may not import worker/methods/'],
    [file('worker/graph/builder.ts', 'core/contract/model.ts'), 'may not import core/contract/'],
    [file('worker/engine/executor.ts', 'worker/graph/builder.ts'), 'through its index.ts'],
    [file('worker/engine/executor.test.ts', 'worker/graph/builder.ts'), 'through its index.ts'],
    [file('renderer/app.tsx', 'core/host/index.ts'), 'may not import core/host/'],
    [file('worker/train/trainer.ts', 'worker/testing/index.ts'), 'may not import worker/testing/'],
    [file('worker/headless/commands/train.ts', 'worker/testing/index.ts'), 'may not import worker/testing/'],
    [file('core/store/migrations/001-first.ts', 'core/contract/ids.ts'), 'may not import core/contract/'],
    [file('core/store/migrations/001-first.ts', 'core/contract/errors.ts'), 'may not import core/contract/'],
    [file('core/elsewhere/new.ts', 'core/contract/ids.ts'), 'outside every area'],
  ])('$from → $to', (entry, reason) => {
    expect(findViolations([entry]).join()).toContain(reason);
  });
});

test.each([
  file('worker/graph/builder.ts', 'core/contract/errors.ts'),
  file('worker/engine/executor.ts', 'worker/graph/index.ts'),
  file('worker/engine/executor.ts', 'worker/engine/planner.ts'),
  file('core/host/run-service.ts', 'core/contract/run-state.ts'),
  file('core/store/open.ts', 'core/store/migrations/index.ts'),
  file('core/store/run-store.ts', 'core/store/migrations/run-db/index.ts'),
  file('worker/graph/vjp.test.ts', 'worker/testing/index.ts'),
  file('worker/headless/commands/parity.ts', 'worker/testing/index.ts'),
  file('worker/headless/cli.ts', 'worker/headless/commands/parity.ts'),
  pack('worker/graph/vjp.test.ts', 'node:fs'),
  pack('worker/runtime/ort.ts', 'onnxruntime-node'),
])('allows $from → $to', (entry) => {
  expect(findViolations([entry])).toEqual([]);
});

test('a file belongs to the deepest area above it', () => {
  expect(areaOf('core/store/migrations/001-first.ts')).toBe('core/store/migrations');
  expect(areaOf('worker/main.ts')).toBe('worker');
  expect(areaOf('worker/headless/commands/parity.ts')).toBe('worker/headless/commands/parity');
});

test('finds cycles of any length and nothing else', () => {
  const chain = [file('a', 'b'), file('b', 'c'), file('c', 'a'), file('d', 'a'), file('d', 'e')];
  expect(findCycles(chain)).toEqual([['a', 'b', 'c']]);
  expect(findCycles(chain.slice(1))).toEqual([]);
});

test('sees every way to name a module, types included', () => {
  const source = `
    import type { A } from './a.ts';
    export * from '#core/b.ts';
    type C = import('./c.ts').C;
    const d = await import('./d.ts');
    const text = "import './not-this.ts'";
  `;
  expect(specifiersOf('x.ts', source)).toEqual(['./a.ts', '#core/b.ts', './c.ts', './d.ts']);
});

test('reads the imports of this repository', () => {
  const imports = collectImports(path.resolve(import.meta.dirname, '..'));
  expect(imports).toContainEqual(file('scripts/check-boundaries.ts', 'scripts/boundaries.ts'));
});
