/**
 * What a machine with a graphics adapter makes of it: the golden cases there, also with frozen weights in float16, then training speed
 * beside the CPU, as the rows of a table for docs/performance.md.
 *
 * Usage: node scripts/bench-gpu.ts [--golden DIR] [--model MODEL]… [--method NAME] [--batch 4] [--seq 256] [--steps 5]
 *
 * DIR holds golden cases, some folders deep; cases that do not compute with a model are left out. Without --model the bundled
 * sample is measured, which is too small to say much of an adapter.
 */
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { z } from 'zod';

const cli = path.resolve(import.meta.dirname, '../worker/headless/cli.ts');

const { values: options } = parseArgs({
  options: {
    golden: { type: 'string' },
    model: { type: 'string', multiple: true },
    method: { type: 'string', default: 'full' },
    batch: { type: 'string', default: '4' },
    seq: { type: 'string', default: '256' },
    steps: { type: 'string', default: '5' },
  },
});

const Device = z.object({
  providers: z.array(z.object({ name: z.string(), used: z.boolean(), reason: z.string() })),
});
const Parity = z.object({
  cases: z.array(z.object({ case: z.string(), ok: z.boolean(), unsupported: z.string().optional() })),
});
const Bench = z.object({
  model: z.string(),
  tokensPerSecond: z.object({ median: z.number() }),
  peakRssMB: z.number(),
  deviceMB: z.number().optional(),
  usefulGflops: z.number(),
  gemmGflops: z.number(),
  gemmShare: z.number(),
  firstStepMs: z.number(),
});

/** The document of a command, whatever its exit status says of the checks in it. */
function ask<T>(schema: z.ZodType<T>, ...args: readonly string[]): T {
  const { stdout, stderr } = spawnSync(process.execPath, ['--no-warnings', cli, ...args, '--json'], {
    encoding: 'utf8',
    maxBuffer: 1e9,
  });
  try {
    return schema.parse(JSON.parse(stdout));
  } catch (error) {
    throw new Error(`condenser ${args.join(' ')}: ${stderr}`, { cause: error });
  }
}

const webgpu = ask(Device, 'doctor').providers.find(({ name }) => name === 'webgpu');
console.log(`WebGPU: ${webgpu?.reason ?? 'not known to this version'}\n`);

if (options.golden !== undefined) {
  for (const weights of ['float32', 'float16']) {
    const on = ['--provider', 'webgpu', '--device-weights', weights];
    const { cases } = ask(Parity, 'parity', options.golden, ...on);
    // Where the adapter has no float16, none is supported with it.
    const computed = cases.filter(({ unsupported }) => unsupported === undefined);
    const failed = computed.filter(({ ok }) => !ok).map((each) => each.case);
    console.log(
      `${computed.length - failed.length} of ${computed.length} golden cases pass with frozen weights in ${weights}.`,
    );
    if (failed.length > 0) console.log(`Not: ${failed.join(', ')}`);
  }
  console.log();
}

const shape = ['--batch', options.batch, '--seq', options.seq, '--steps', options.steps];
console.log('| Model, on | tokens/s | GFLOP/s, of a product | Memory, on the adapter | First step |');
console.log('| --- | --- | --- | --- | --- |');
for (const model of options.model ?? [undefined]) {
  for (const provider of ['cpu', 'webgpu']) {
    const of = model === undefined ? [] : ['--model', model];
    const got = ask(Bench, 'bench', ...of, '--method', options.method, '--provider', provider, ...shape);
    const whole = (value: number) => Math.round(value).toLocaleString('en-US');
    const cells = [
      `${got.model}, ${provider}`,
      whole(got.tokensPerSecond.median),
      `${whole(got.usefulGflops)} of ${whole(got.gemmGflops)} (${whole(100 * got.gemmShare)} %)`,
      `${whole(got.peakRssMB)} MB${got.deviceMB === undefined ? '' : `, ${whole(got.deviceMB)} MB`}`,
      `${(got.firstStepMs / 1000).toPrecision(2)} s`,
    ];
    console.log(`| ${cells.join(' | ')} |`);
  }
}
