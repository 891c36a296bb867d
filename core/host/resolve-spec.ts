/** RUN.json names files relative to itself; inside the program every path is absolute. */
import path from 'node:path';
import type { RunSpec } from '#core/contract/run-spec.ts';

/** `spec` with its paths made absolute against `baseDir`. */
export function resolveSpecPaths(spec: RunSpec, baseDir: string): RunSpec {
  const absolute = <T extends { readonly path: string }>(file: T): T => ({
    ...file,
    path: path.resolve(baseDir, file.path),
  });
  const { train, validation, general, ...data } = spec.data;
  return {
    ...spec,
    model: absolute(spec.model),
    data: {
      ...data,
      train: train.map(absolute),
      validation: 'files' in validation ? { files: validation.files.map(absolute) } : validation,
      ...(general && { general: general.map(absolute) }),
    },
  };
}
