import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';

/** An execution provider of ONNX Runtime, and whether training can use it here. */
export interface Provider {
  readonly name: string;
  readonly usable: boolean;
  /** Why it is not usable, in words for the user. */
  readonly reason?: string;
}

/** Graphs are emitted for the CPU provider only, whatever the installed ONNX Runtime has besides. */
const CPU_ONLY = 'This version trains on the CPU only.';

/**
 * The execution providers, the one that trains first. ONNX Runtime is looked for but not loaded: a host that asks must
 * stay small, and in Electron its library may not be loaded at all.
 */
export function listProviders(
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
  return [cpu, ...['webgpu', 'cuda'].map((name) => ({ name, usable: false, reason: CPU_ONLY }))];
}
