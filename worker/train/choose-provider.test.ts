/** Choices where a GPU is found: a program that says so stands in for the one that tries adapters. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { passedLine, type ProviderName } from '#worker/runtime/index.ts';
import { chooseProvider } from './choose-provider.ts';

const work = mkdtempSync(path.join(tmpdir(), 'condenser-choice-'));
const probe = { node: process.execPath, script: path.join(work, 'probe.mjs') };

beforeAll(() => {
  const log =
    'Discovered OrtHardwareDevice {vendor_id:0x10de, device_id:0x2330, vendor:, type:1, metadata: []}';
  writeFileSync(
    probe.script,
    `console.error('${log}'); console.log('${passedLine({ hasFloat16: false })}');`,
  );
});
afterAll(() => rmSync(work, { recursive: true }));

const taking =
  (seconds: Readonly<Record<ProviderName, number>>, lossOnGpu = 2) =>
  (provider: ProviderName) =>
    Promise.resolve({ seconds: seconds[provider], loss: provider === 'cpu' ? 2 : lossOnGpu });

test('the faster of a rehearsed step on both is taken, and the run says why', async () => {
  expect(await chooseProvider({ asked: 'auto', probe, rehearse: taking({ cpu: 4, webgpu: 0.5 }) })).toEqual({
    provider: 'webgpu',
    reason: 'Trains on the GPU: a step took 0.50 s on NVIDIA GPU (device 0x2330) and 4.0 s on the CPU.',
    adapter: 'NVIDIA GPU (device 0x2330)',
  });
  expect(await chooseProvider({ asked: 'auto', probe, rehearse: taking({ cpu: 1, webgpu: 2 }) })).toEqual({
    provider: 'cpu',
    reason: 'Trains on the CPU: a step took 2.0 s on NVIDIA GPU (device 0x2330) and 1.0 s on the CPU.',
  });
});

test('a GPU on which a step fails leaves the run to the CPU', async () => {
  const rehearse = (provider: ProviderName) =>
    provider === 'cpu'
      ? Promise.resolve({ seconds: 1, loss: 2 })
      : Promise.reject(new Error('the driver gave up'));
  expect(await chooseProvider({ asked: 'auto', probe, rehearse })).toEqual({
    provider: 'cpu',
    reason: 'Trains on the CPU: a step on NVIDIA GPU (device 0x2330) failed. the driver gave up',
  });
});

test.each([
  [2.2, '2.200'],
  [NaN, 'NaN'],
])('a GPU on which a step has a loss of %d instead of 2 leaves the run to the CPU', async (loss, said) => {
  const rehearse = taking({ cpu: 4, webgpu: 0.5 }, loss);
  expect(await chooseProvider({ asked: 'auto', probe, rehearse })).toEqual({
    provider: 'cpu',
    reason: `Trains on the CPU: the loss of a step is ${said} on NVIDIA GPU (device 0x2330) and 2.000 on the CPU.`,
  });
});
