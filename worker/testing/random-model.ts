/** Tiny checkpoints with random weights, for tests. */
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { encodeFloats, writeSafetensors } from '#worker/checkpoint/index.ts';
import { familyOf } from '#worker/families/index.ts';
import { elementCount, parametersOf } from '#worker/model/index.ts';
import { normal } from '#worker/random/index.ts';

/** Writes a checkpoint of `config`, in which every tensor holds one parameter, into the new folder `dir`. */
export function writeRandomModel(dir: string, config: Readonly<Record<string, unknown>>): void {
  const family = familyOf(config);
  const plan = family.plan(config);
  const tensors = parametersOf(plan).map((parameter) => {
    const { id, shape } = parameter;
    const values = Float32Array.from(normal(1, id, elementCount(shape)), (x) =>
      shape.length === 1 ? 1 + 0.1 * x : 0.2 * x,
    );
    const name = family.stored(parameter, plan)[0]?.name ?? '';
    return { name, dtype: 'F32' as const, shape, data: () => encodeFloats(values, 'F32') };
  });
  mkdirSync(dir, { recursive: true });
  writeFileSync(path.join(dir, 'config.json'), JSON.stringify(config));
  writeSafetensors(path.join(dir, 'model.safetensors'), tensors, { metadata: { format: 'pt' } });
}
