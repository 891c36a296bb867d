/** What this machine has to train with. */
import { existsSync, readFileSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import os from 'node:os';
import { createRequire } from 'node:module';
import type { DeviceInfo } from '#core/contract/settings.ts';
import type { AdapterSearch } from '#worker/runtime/index.ts';

const INSTRUCTION_SETS: Readonly<Record<string, string>> = {
  avx2: 'AVX2',
  fma: 'FMA',
  f16c: 'F16C',
  avx512f: 'AVX-512',
  avx512_vnni: 'AVX-512 VNNI',
  avx512_bf16: 'AVX-512 BF16',
  amx_tile: 'AMX',
  asimd: 'NEON',
  sve: 'SVE',
};

/** Looks at the machine; `home` says which disk counts. Megabytes are 10^6 bytes. */
export async function readDeviceInfo(home: string, search: AdapterSearch): Promise<DeviceInfo> {
  const [{ listProviders }, { sqliteVersion }] = await Promise.all([
    import('#worker/runtime/index.ts'),
    import('#core/store/index.ts'),
  ]);
  const disk = await statfs(home);
  return {
    cpu: {
      model: os.cpus()[0]?.model ?? os.arch(),
      cores: os.availableParallelism(),
      instructionSets: instructionSets(),
    },
    memoryMB: { total: Math.round(os.totalmem() / 1e6), available: Math.round(os.freemem() / 1e6) },
    diskFreeMB: Math.round((disk.bavail * disk.bsize) / 1e6),
    providers: listProviders(search).map(({ name, usable, reason, placement }) => ({
      name,
      used: usable,
      reason: reason ?? 'Trains here.',
      ...(placement && { placement }),
    })),
    versions: {
      node: process.versions.node,
      onnxruntime: packageVersion('onnxruntime-node'),
      sqlite: sqliteVersion(),
    },
  };
}

function instructionSets(): string[] {
  // Other systems have no such file.
  const text = existsSync('/proc/cpuinfo') ? readFileSync('/proc/cpuinfo', 'utf8') : '';
  const line = /^(?:flags|Features)\s*:(.*)$/m.exec(text)?.[1] ?? '';
  const flags = new Set(line.trim().split(/\s+/));
  return Object.entries(INSTRUCTION_SETS).flatMap(([flag, name]) => (flags.has(flag) ? [name] : []));
}

/** Version of an installed package, without loading it. */
function packageVersion(name: string): string {
  const manifest: unknown = createRequire(import.meta.url)(`${name}/package.json`);
  return typeof manifest === 'object' && manifest !== null && 'version' in manifest
    ? String(manifest.version)
    : 'unknown';
}
