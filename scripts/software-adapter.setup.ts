/**
 * Gives tests a graphics adapter on any Linux machine: SwiftShader, a Vulkan driver that computes on the processor, and the
 * Vulkan loader, both from the npm package of Chromium. Programs look for them when they start, so the processes that run
 * tests inherit the environment that is set here. Elsewhere tests that need an adapter are left out.
 */
import { existsSync } from 'node:fs';
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
}
