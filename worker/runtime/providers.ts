import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import type { Placement } from '#core/contract/run.ts';
import type { AdapterSearch } from './adapter.ts';

/** An execution provider of ONNX Runtime, and whether training can use it here. */
export interface Provider {
  readonly name: string;
  readonly usable: boolean;
  /** Why it is not usable, or when it is used, in words for the user. */
  readonly reason?: string;
  /** What the search found; see `Adapter`. */
  readonly placement?: Placement | undefined;
}

/**
 * The execution providers. ONNX Runtime is looked for but not loaded: a host that asks must stay small, and in Electron
 * its library may not be loaded at all.
 * @param search what `findAdapter` found.
 */
export function listProviders(
  search: AdapterSearch,
  platform: string = process.platform,
  arch: string = process.arch,
): readonly Provider[] {
  const folder = path.dirname(createRequire(import.meta.url).resolve('onnxruntime-node/package.json'));
  const binding = path.join(folder, 'bin/napi-v6', platform, arch, 'onnxruntime_binding.node');
  const cpu: Provider = existsSync(binding)
    ? { name: 'cpu', usable: true }
    : {
        name: 'cpu',
        usable: false,
        reason: `The installed ONNX Runtime has no build for ${platform} on ${arch}.`,
      };
  return [
    cpu,
    webgpuOf(search),
    {
      name: 'cuda',
      usable: false,
      reason: 'Not needed: NVIDIA cards, like those of other makers, train through WebGPU.',
    },
  ];
}

function webgpuOf(search: AdapterSearch): Provider {
  if (search.adapter === null) return { name: 'webgpu', usable: false, reason: search.reason };
  const { kind, hasFloat16, placement } = search.adapter;
  const name = hasFloat16 ? `${search.adapter.name} with float16` : search.adapter.name;
  return {
    name: 'webgpu',
    usable: kind === 'gpu',
    reason:
      kind === 'gpu'
        ? `${name}; taken where a rehearsed step is faster than on the CPU.`
        : `Only ${name}, which is slower than the CPU. A run can ask for it all the same.`,
    placement,
  };
}
