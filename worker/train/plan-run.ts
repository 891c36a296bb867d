/** What a run will need and whether it can start, without starting it. */
import { statfsSync } from 'node:fs';
import { freemem, totalmem } from 'node:os';
import { UserError } from '#core/contract/errors.ts';
import type { MethodInfo, RunPlan } from '#core/contract/method.ts';
import type { RunSpec } from '#core/contract/run-spec.ts';
import { openModelFolder } from '#worker/checkpoint/index.ts';
import { momentBytes } from '#worker/engine/index.ts';
import { describeMethods, startMethod } from '#worker/methods/index.ts';
import {
  checkPositions,
  elementCount,
  hasGradient,
  parametersOf,
  parametersUnder,
  trains,
  type Parameter,
} from '#worker/model/index.ts';
import {
  DEVICE_HINT,
  deviceMeasures,
  deviceProblem,
  planDevice,
  type DevicePlan,
  halvesUnder,
  exceedsBudget,
  memoryBudgetMB,
  planMemory,
  heldExperts,
  roundedUnder,
  type ModelLayout,
  estimateTime,
  trainingSteps,
} from '#worker/plan/index.ts';
import { findAdapter, type AdapterProbe } from '#worker/runtime/index.ts';
import { decoderOf } from './decoder-of.ts';
import { checkGeneralData } from './general-routing.ts';
import { evenScores, methodContext } from './method-context.ts';
import { anySubmatrices, planWithWarmUp } from './warm-up.ts';

/** All methods, for forms and help. */
export function listMethods(): MethodInfo[] {
  return describeMethods();
}

/**
 * Plans a run whose paths are absolute. What is wrong is in `problems`; only bugs are thrown.
 * @param probe how to look for a graphics adapter, where the run asks for one.
 */
export async function planRun(spec: RunSpec, probe: AdapterProbe): Promise<RunPlan> {
  const problems: string[] = [];
  const attempt = async <T>(work: () => Promise<T> | T): Promise<T | undefined> => {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      problems.push(
        error.hint === undefined ? error.message : `${error.message.replace(/\.?$/, '.')} ${error.hint}`,
      );
      return undefined;
    }
  };
  const folder = await attempt(() => openModelFolder(spec.model.path));
  const available = freemem() / 1e6;
  const empty = {
    memoryMB: { low: 0, high: 0, parts: {}, availableMB: available, recomputedLayers: 0, streamedLayers: 0 },
    diskMB: { perCheckpoint: 0, total: 0, freeMB: 0 },
  };
  if (folder === undefined)
    return { ok: false, problems, trainableParameters: 0, totalParameters: 0, ...empty };
  try {
    const model = await attempt(() => decoderOf(folder));
    if (model === undefined)
      return { ok: false, problems, trainableParameters: 0, totalParameters: 0, ...empty };
    const { family, plan } = model;
    const session = await attempt(() =>
      startMethod(
        spec.method.name,
        spec.method.options,
        methodContext(family, plan, {
          expertScores: evenScores(plan),
          submatrices: anySubmatrices(spec.method, plan),
          seed: spec.train.seed,
        }),
      ),
    );
    const methodProblem = session === undefined ? problems.at(-1) : undefined;
    await attempt(() => checkPositions(plan, spec.data.maxLength));
    await attempt(() => session && checkGeneralData(session, spec.data.general !== undefined));
    const parameters = session === undefined ? parametersOf(plan) : parametersUnder(plan, session);
    const isTrained = (parameter: Parameter) =>
      session === undefined ? hasGradient(parameter) : trains(session, parameter);
    const size = (list: readonly Parameter[]) =>
      list.reduce((sum, parameter) => sum + elementCount(parameter.shape), 0);
    const trained = size(parameters.filter(isTrained));
    const limit = memoryBudgetMB(spec);
    const layout: ModelLayout = {
      plan,
      parameters,
      isTrained,
      isRounded: roundedUnder(heldExperts(spec), isTrained, session),
      storedBytes: folder.totalBytes,
      ...(session && { session }),
    };
    const memory =
      session === undefined ? planMemory(layout, spec, limit) : planWithWarmUp(layout, spec, limit);
    if (exceedsBudget(memory, limit)) {
      problems.push(
        `about ${Math.round(memory.totalMB).toLocaleString('en-US')} MB of memory are needed, ${Math.round(limit).toLocaleString('en-US')} MB are available. Use a smaller micro-batch or shorter examples, or train fewer weights.`,
      );
    }
    const { deviceMemoryMB, deviceWeights } = spec.engine;
    let device: DevicePlan | null = null;
    if (spec.engine.provider === 'webgpu') {
      const { adapter, ...search } = await findAdapter(probe);
      const isHalf = await attempt(
        () => adapter && halvesUnder(deviceWeights, plan, () => adapter.hasFloat16, isTrained),
      );
      device = planDevice(
        { ...layout, ...(isHalf && { isHalf }) },
        spec,
        deviceMemoryMB,
        memory.streamedLayers,
      );
      const problem = deviceProblem(device, deviceMemoryMB);
      if (problem !== null) problems.push(`${problem}. ${DEVICE_HINT}`);
      if (adapter === null && 'reason' in search)
        problems.push(`engine.provider "webgpu": ${search.reason} Use "auto" or "cpu".`);
    }
    const steps = await attempt(() => trainingSteps(spec));
    const perCheckpoint = (trained * (4 + momentBytes(spec.train.optimizer.moments))) / 1e6;
    const disk = statfsSync(folder.dir);
    return {
      ok: problems.length === 0,
      problems,
      ...(methodProblem !== undefined && { methodProblem }),
      ...(steps !== undefined && { steps: steps.steps }),
      trainableParameters: trained,
      totalParameters: size(parameters),
      memoryMB: {
        low: memory.totalMB * 0.8,
        high: memory.totalMB * 1.2,
        parts: memory.parts,
        availableMB: Math.min(available, totalmem() / 1e6),
        recomputedLayers: memory.recomputedLayers,
        streamedLayers: memory.streamedLayers,
      },
      diskMB: {
        perCheckpoint,
        total: perCheckpoint * spec.checkpoint.keep,
        freeMB: (disk.bavail * disk.bsize) / 1e6,
      },
      ...(device !== null
        ? {
            deviceMB: {
              total: device.totalMB,
              parts: device.parts,
              measures: deviceMeasures(device, plan.layers.length),
            },
          }
        : steps !== undefined && { timeSeconds: estimateTime(layout, memory, steps, spec) }),
    };
  } finally {
    folder.close();
  }
}
