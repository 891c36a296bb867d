/**
 * Feeds the readers of model folders with damaged files for hours or minutes: safetensors, config.json and tokenizers.
 *
 * Usage: npm run fuzz -- [--count 100000] [--seed 1] [--configs DIR]
 *
 * Every input must be read, or refused with an error that a user can act on, within seconds; the first that is not ends the
 * program with the seed and round that show it again. Configurations are those of the bundled sample, and of every folder
 * `DIR/NAME/model`. A tokenizer takes 2 ms, several times what the others take. On a busy disk safetensors files, which are written for
 * each input, go faster with TMPDIR in memory.
 */
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { fuzzConfigs, fuzzSafetensors, fuzzTokenizers } from '../worker/testing/index.ts';

const { values: options } = parseArgs({
  options: {
    count: { type: 'string', default: '100000' },
    seed: { type: 'string', default: '1' },
    configs: { type: 'string' },
  },
});
const count = Number(options.count);
const seed = Number(options.seed);
const sample = path.join(import.meta.dirname, '../resources/sample/sample-moe');
const folders =
  options.configs === undefined
    ? []
    : readdirSync(options.configs).map((name) => path.join(options.configs ?? '', name, 'model'));
const configs = [sample, ...folders]
  .map((folder) => path.join(folder, 'config.json'))
  .filter((file) => existsSync(file))
  .map((file) => JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>);

for (const work of [
  () => fuzzSafetensors(seed, count),
  () => fuzzConfigs(seed, count, configs),
  () => fuzzTokenizers(seed, count, sample),
]) {
  const started = performance.now();
  const { reader, read, refused } = await work();
  const seconds = ((performance.now() - started) / 1000).toFixed(0);
  console.log(`${reader}: ${read} read, ${refused} refused, ${seconds} s`);
}
