/** Tiny models with every kind of attention: the bundled one, and golden ones where they are there. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';

const root = join(import.meta.dirname, '../..');

// Windows and sinks; latent attention; a window without sinks; normalised heads; gated contexts; parallel halves; short
// convolutions.
const families = [
  'gpt_oss',
  'deepseek_v2-groups',
  'mixtral-window-left',
  'qwen3_moe',
  'afmoe',
  'laguna',
  'cohere2_moe',
  'lfm2_moe',
];

/** Name and folder of each. */
export const attentionModels: readonly (readonly [name: string, modelDir: string])[] = [
  ['sample', join(root, 'resources/sample/sample-moe')] as const,
  ...families.map((family) => [family, join(root, '../shared/golden/families', family, 'model')] as const),
].filter(([, dir]) => existsSync(dir));
