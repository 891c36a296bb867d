/** Whether this machine has a graphics adapter that WebGPU can use, found out in a process of its own. */
import { execFile } from 'node:child_process';
import path from 'node:path';

/** A graphics adapter that computes what it should. */
export interface Adapter {
  /** Hardware, or a program that computes on the processor in the place of hardware. */
  readonly kind: 'gpu' | 'software';
  /** What it is, in words. */
  readonly name: string;
}

/** An adapter, or why there is none. */
export type AdapterSearch =
  { readonly adapter: Adapter } | { readonly adapter: null; readonly reason: string };

/** A Node executable and the program that tries an adapter. */
export interface AdapterProbe {
  readonly node: string;
  readonly script: string;
}

/** What the probe prints as its last line when the adapter works. */
export const PROBE_PASSED = 'adapter works';

const TIMEOUT_MS = 60_000;

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
 */
export function findAdapter({ node, script }: AdapterProbe): Promise<AdapterSearch> {
  return new Promise((resolve) => {
    execFile(
      node,
      ['--no-warnings', script],
      { timeout: TIMEOUT_MS, windowsHide: true, maxBuffer: 1e8 },
      (error, stdout, stderr) => {
        if (error === null && stdout.trimEnd().endsWith(PROBE_PASSED))
          resolve({ adapter: adapterOf(stderr) });
        else resolve({ adapter: null, reason: reasonOf(error, stdout) });
      },
    );
  });
}

/** ONNX Runtime lists the devices of the machine in its log: type 0 is a processor, 1 a GPU. */
function adapterOf(log: string): Adapter {
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

function reasonOf(
  error: (Error & { readonly killed?: boolean; readonly signal?: unknown }) | null,
  out: string,
) {
  if (error?.killed === true) return 'A graphics adapter was found, but did not answer within a minute.';
  if (typeof error?.signal === 'string')
    return `Trying the graphics adapter ended its process (${error.signal}): its driver does not work with WebGPU.`;
  const said = out.trim().split('\n').at(-1) ?? '';
  return said === '' ? `The graphics adapter could not be tried: ${error?.message ?? 'no answer'}.` : said;
}
