/**
 * How processor time and memory of a training step grow with tokens, experts, layers and the length of a row: trains tiny random
 * checkpoints in which one of them changes, and draws the result.
 *
 * Usage: node scripts/cost-curves.ts docs/cost-curves.svg
 *
 * One thread and processor time, so that other programs disturb little. Prints the
 * table of docs/performance.md.
 */
import { execFileSync } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { makeTemporaryFolder } from '#core/process/temporary-folder.ts';
import { z } from 'zod';
import { writeRandomModel } from '../worker/testing/index.ts';

/** What a measurement depends on. */
interface Shape {
  readonly rows: number;
  readonly length: number;
  readonly experts: number;
  readonly layers: number;
}

const start: Shape = { rows: 2, length: 128, experts: 8, layers: 2 };
const curves = [
  { title: 'tokens (rows of 128)', unit: (n: number) => 128 * n, key: 'rows', values: [2, 4, 8, 16, 32] },
  { title: 'experts (4 a token)', unit: (n: number) => n, key: 'experts', values: [8, 16, 32, 64, 128] },
  { title: 'layers', unit: (n: number) => n, key: 'layers', values: [2, 4, 8, 16, 32] },
  { title: 'length of one row', unit: (n: number) => n, key: 'length', values: [128, 256, 512, 1024, 2048] },
] as const;

const Bench = z.object({ tokensPerCoreSecond: z.number(), peakRssMB: z.number() });

interface Point {
  readonly value: number;
  readonly milliseconds: number;
  readonly megabytes: number;
}

/** Processor time of a step and peak memory of a model and batch of this shape. */
function measure({ rows, length, experts, layers }: Shape, folder: string): Omit<Point, 'value'> {
  const model = path.join(folder, `${experts}x${layers}`);
  writeRandomModel(model, {
    model_type: 'olmoe',
    architectures: ['OlmoeForCausalLM'],
    vocab_size: 512,
    hidden_size: 128,
    intermediate_size: 64,
    num_hidden_layers: layers,
    num_attention_heads: 4,
    num_experts: experts,
    num_experts_per_tok: 4,
    max_position_embeddings: 4096,
    eos_token_id: 1,
  });
  const cli = path.join(import.meta.dirname, '../worker/headless/cli.ts');
  const shape = ['--batch', String(rows), '--seq', String(length)];
  const output = execFileSync(
    process.execPath,
    [cli, 'bench', '--model', model, ...shape, '--threads', '1', '--steps', '5', '--json'],
    { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] },
  );
  const { tokensPerCoreSecond, peakRssMB } = Bench.parse(JSON.parse(output));
  return { milliseconds: (1000 * rows * length) / tokensPerCoreSecond, megabytes: peakRssMB };
}

const [PANEL, MARGIN, DOUBLINGS] = [180, 36, 5];

/** One panel: both axes count doublings of the first value, so that linear growth is the diagonal. */
function panel(title: string, points: readonly Point[], left: number): string {
  const size = PANEL - MARGIN;
  const [x0, y0] = [left + MARGIN, MARGIN + size];
  const place = (x: number, y: number) =>
    `${(x0 + (x / DOUBLINGS) * size).toFixed(1)},${(y0 - (y / DOUBLINGS) * size).toFixed(1)}`;
  const [first] = points;
  if (first === undefined) throw new Error(`${title}: nothing was measured`);
  const line = (get: (point: Point) => number, look: string) =>
    `<polyline fill="none" ${look} points="${points
      .map((point) => place(Math.log2(point.value / first.value), Math.log2(get(point) / get(first))))
      .join(' ')}"/>`;
  const ticks = Array.from({ length: DOUBLINGS }, (_, n) => {
    const [x, y] = place(n, n).split(',');
    return `<text x="${x}" y="${y0 + 14}" text-anchor="middle">${2 ** n}×</text><text x="${x0 - 5}" y="${Number(y) + 3}" text-anchor="end">${2 ** n}×</text>`;
  });
  return [
    `<text x="${x0}" y="${MARGIN - 12}" class="title">${title}</text>`,
    `<path d="M${x0},${MARGIN}V${y0}H${x0 + size}" fill="none" stroke="#888"/>`,
    `<path d="M${place(0, 0)} L${place(DOUBLINGS, DOUBLINGS)}" stroke="#bbb" stroke-dasharray="2 3"/>`,
    ...ticks,
    line((point) => point.milliseconds, 'stroke="#2563eb" stroke-width="2"'),
    line((point) => point.megabytes, 'stroke="#d97706" stroke-width="2" stroke-dasharray="6 3"'),
  ].join('\n');
}

const [target] = process.argv.slice(2);
if (target === undefined) throw new Error('usage: node scripts/cost-curves.ts FILE.svg');
const folder = makeTemporaryFolder('cost');
try {
  const measured = curves.map(({ title, unit, key, values }) => {
    const base = key === 'length' ? { ...start, rows: 1 } : start;
    const points = values.map((value) => ({ value, ...measure({ ...base, [key]: value }, folder) }));
    return { title, unit, points };
  });
  const width = PANEL * measured.length + MARGIN;
  const svg = [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${PANEL + 46}" font-family="sans-serif" font-size="10" fill="#444">`,
    '<style>.title{font-size:12px;font-weight:600}</style><rect width="100%" height="100%" fill="#fff"/>',
    ...measured.map(({ title, points }, index) => panel(title, points, index * PANEL)),
    `<text x="${MARGIN}" y="${PANEL + 38}">solid: processor time of a step; dashed: peak memory; dotted: linear growth</text>`,
    '</svg>\n',
  ];
  writeFileSync(target, svg.join('\n'));
  console.log(
    '| What changes | Values | Processor time of a step, ms | Peak memory, MB |\n| --- | --- | --- | --- |',
  );
  for (const { title, unit, points } of measured) {
    const column = (get: (point: Point) => number) =>
      points.map((point) => Math.round(get(point))).join(', ');
    console.log(
      `| ${title} | ${column(({ value }) => unit(value))} | ${column((p) => p.milliseconds)} | ${column((p) => p.megabytes)} |`,
    );
  }
} finally {
  rmSync(folder, { recursive: true });
}
