/** Whether this machine has a graphics adapter that WebGPU can use, found out in a process of its own. */
import { execFile } from 'node:child_process';
import path from 'node:path';
import { z } from 'zod';
import { Placement } from '#core/contract/run.ts';

/** A graphics adapter that computes what it should. */
export interface Adapter {
  /** Hardware, or a program that computes on the processor in the place of hardware. */
  readonly kind: 'gpu' | 'software';
  /** What it is, in words. */
  readonly name: string;
  /** Whether programs can read float16 there: then frozen weights may take half the memory. */
  readonly hasFloat16: boolean;
  /** Where the operators of a training step ran; absent: none was tried. */
  readonly placement?: Placement | undefined;
}

/** An adapter, or why there is none. */
export type AdapterSearch =
  { readonly adapter: Adapter } | { readonly adapter: null; readonly reason: string };

/** A Node executable and the program that tries an adapter. */
export interface AdapterProbe {
  readonly node: string;
  readonly script: string;
}

/** How the last line begins that the probe prints when the adapter works. What it found follows, as JSON. */
const PASSED = 'adapter works';

/** What the probe finds. */
const ProbeResult = z.object({ hasFloat16: z.boolean(), placement: Placement.optional() });
export type ProbeResult = z.infer<typeof ProbeResult>;

/** What the probe prints as its last line when the adapter works. */
export function passedLine(found: ProbeResult): string {
  return `${PASSED} ${JSON.stringify(found)}`;
}

const TIMEOUT_MS = 120_000;

const VENDORS: Readonly<Record<string, string>> = {
  '0x10de': 'NVIDIA',
  '0x1002': 'AMD',
  '0x8086': 'Intel',
  '0x106b': 'Apple',
  '0x5143': 'Qualcomm',
  '0x13b5': 'ARM',
};

/** The probe that belongs to a worker's entry file: it lies beside it, as source and as bundle. */
export function probeBeside(node: string, entry: string): AdapterProbe {
  return { node, script: path.join(path.dirname(entry), `adapter.process${path.extname(entry)}`) };
}

/**
 * Looks for an adapter. The attempt is made in another process, since a driver that fails may take its process with it.
 * @param modelDir a small model of which a training step is tried too; absent: one product is.
 */
export async function findAdapter({ node, script }: AdapterProbe, modelDir?: string): Promise<AdapterSearch> {
  const { error, stdout, stderr } = await new Promise<Ended>((resolve) => {
    execFile(
      node,
      ['--no-warnings', script, ...(modelDir === undefined ? [] : [modelDir])],
      { timeout: TIMEOUT_MS, windowsHide: true, maxBuffer: 1e8 },
      (failure, out, log) => resolve({ error: failure, stdout: out, stderr: log }),
    );
  });
  const last = stdout.trim().split('\n').at(-1) ?? '';
  if (error !== null || !last.startsWith(PASSED)) return { adapter: null, reason: reasonOf(error, last) };
  const found = ProbeResult.parse(JSON.parse(last.slice(PASSED.length)));
  return { adapter: { ...adapterOf(stderr), ...found } };
}

/** How a probe ended. */
interface Ended {
  readonly error: (Error & { readonly killed?: boolean; readonly signal?: unknown }) | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** ONNX Runtime lists the devices of the machine in its log: type 0 is a processor, 1 a GPU. */
function adapterOf(log: string): Pick<Adapter, 'kind' | 'name'> {
  const device = /OrtHardwareDevice \{vendor_id:(0x\w+), device_id:(0x\w+), vendor:([^,]*), type:1\b/i.exec(
    log,
  );
  if (device === null) return { kind: 'software', name: 'a software adapter' };
  const [, vendor = '', id = '', name = ''] = device;
  return {
    kind: 'gpu',
    name: `${VENDORS[vendor.toLowerCase()] ?? (name.trim() || vendor)} GPU (device ${id})`,
  };
}

function reasonOf(error: Ended['error'], said: string) {
  if (error?.killed === true) return 'A graphics adapter was found, but did not answer within two minutes.';
  if (typeof error?.signal === 'string')
    return `Trying the graphics adapter ended its process (${error.signal}): its driver does not work with WebGPU.`;
  return said === '' ? `The graphics adapter could not be tried: ${error?.message ?? 'no answer'}.` : said;
}
