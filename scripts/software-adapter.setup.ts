/**
 * Gives tests graphics adapters on any Linux machine. SwiftShader, a Vulkan driver that computes on the processor, and the Vulkan
 * loader come from the npm package of Chromium. Mesa's lavapipe is another such driver; it has float16, and is used where the system
 * has it. Programs look for drivers when they start, so the processes that run tests inherit the environment that is set here.
 * Elsewhere tests that need an adapter are left out.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, readdirSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { unpackingInto } from './npm-chromium.ts';

const folder = path.resolve(import.meta.dirname, '../node_modules/.cache/software-adapter');

/** Run by Vitest before any test. */
export async function setup(): Promise<void> {
  if (process.platform !== 'linux' || process.arch !== 'x64') return;
  const driver = path.join(folder, 'vk_swiftshader_icd.json');
  if (!existsSync(driver))
    await unpackingInto(folder, ({ inflate }, archive) => inflate(archive('swiftshader.tar.br')));
  process.env['VK_ICD_FILENAMES'] = driver;
  process.env['LD_LIBRARY_PATH'] = [folder, process.env['LD_LIBRARY_PATH']].filter(Boolean).join(':');
  // A layer of Mesa's that sorts adapters: tests name theirs.
  process.env['NODEVICE_SELECT'] = '1';
  try {
    process.env['CONDENSER_FLOAT16_DRIVER'] = float16Driver();
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    if (process.env['CONDENSER_NEEDS_FLOAT16'] !== undefined) throw error;
    console.warn(`Tests of float16 on a graphics adapter are left out: ${reason}`);
  }
}

/** Compiles float16-driver.c against the system's lavapipe. @returns its manifest. @throws Error what is missing. */
function float16Driver(): string {
  const lavapipe = lavapipeLibrary();
  if (lavapipe === null) throw new Error('there is no lavapipe (package mesa-vulkan-drivers)');
  const own = path.join(folder, '../float16-adapter');
  mkdirSync(own, { recursive: true });
  const library = path.join(own, 'libvulkan_float16.so');
  const manifest = path.join(own, 'float16_icd.json');
  // Other tests may be reading those of an earlier start.
  const fresh = (file: string) => `${file}.${process.pid}`;
  const source = path.join(import.meta.dirname, 'float16-driver.c');
  const define = `-DLAVAPIPE="${lavapipe}"`;
  try {
    execFileSync('cc', ['-O1', '-shared', '-fPIC', define, '-o', fresh(library), source, '-ldl'], {
      stdio: 'pipe',
    });
  } catch (error) {
    throw new Error('float16-driver.c does not compile (packages gcc and libvulkan-dev)', { cause: error });
  }
  const icd = { api_version: '1.1.0', library_path: library };
  writeFileSync(fresh(manifest), JSON.stringify({ file_format_version: '1.0.0', ICD: icd }));
  for (const file of [library, manifest]) renameSync(fresh(file), file);
  return manifest;
}

/** The library that lavapipe's manifest names, where the system has one. */
function lavapipeLibrary(): string | null {
  const { XDG_DATA_DIRS = '/usr/local/share:/usr/share' } = process.env;
  for (const data of XDG_DATA_DIRS.split(':')) {
    const manifests = path.join(data, 'vulkan/icd.d');
    const name = existsSync(manifests) && readdirSync(manifests).find((file) => file.startsWith('lvp_icd'));
    if (!name) continue;
    const { ICD } = JSON.parse(readFileSync(path.join(manifests, name), 'utf8')) as {
      readonly ICD: { readonly library_path: string };
    };
    return ICD.library_path;
  }
  return null;
}
