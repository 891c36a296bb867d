/** The `sample` part of the host API: the bundled model and data set, and the demonstration with them. */
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { z } from 'zod';
import { invariant, UserError } from '#core/contract/errors.ts';
import type { HostHandlers } from '#core/contract/host-api.ts';
import { parseRunSpec, type RunSpec } from '#core/contract/run-spec.ts';
import type { DatasetService } from './dataset-service.ts';
import type { HostContext } from './host-context.ts';
import type { ModelService } from './model-service.ts';
import { resolveSpecPaths } from './resolve-spec.ts';
import type { RunService } from './run-service.ts';

type SampleHandlers = Pick<HostHandlers, 'sample.prepare' | 'sample.start'>;

/** `demo.json`: each run is `common` with its own top-level fields, so that what is equal is written once. */
const Demo = z.strictObject({
  common: z.record(z.string(), z.unknown()),
  runs: z.array(z.record(z.string(), z.unknown())).min(1),
});

/** Serves the sample of `ports.sampleDir`. */
export function createSampleHandlers(
  { ports }: HostContext,
  models: ModelService,
  datasets: DatasetService,
  runs: RunService,
): SampleHandlers {
  const prepare = async () => {
    const [spec] = readDemo(ports.sampleDir);
    const file = spec?.data.train[0];
    invariant(spec && file, 'the schemas of demo.json ask for a run and a data file');
    const model = await models.add(spec.model.path);
    const dataset = await datasets.add(file.path);
    return { modelId: model.id, datasetId: dataset.id };
  };
  return {
    'sample.prepare': prepare,
    'sample.start': async () => {
      await prepare();
      return { runs: readDemo(ports.sampleDir).map((spec) => runs.start(spec)) };
    },
  };
}

/**
 * The specifications of the demonstration, with absolute paths.
 * @param sampleDir holds `demo.json`, whose paths are relative to it.
 * @throws UserError `sample/missing` in an installation without the sample, `sample/damaged`.
 */
export function readDemo(sampleDir: string): RunSpec[] {
  const file = path.join(sampleDir, 'demo.json');
  if (!existsSync(file)) {
    throw new UserError('sample/missing', `${file}: the sample is not installed`, 'Install Condenser again.');
  }
  const demo = Demo.parse(JSON.parse(readFileSync(file, 'utf8')));
  return demo.runs.map((run) => resolveSpecPaths(parseRunSpec({ ...demo.common, ...run }, file), sampleDir));
}
