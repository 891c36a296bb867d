/** Options of golden cases in the terms of this project's methods. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { UserError } from '#core/contract/errors.ts';
import { decodeFloats, encodeFloats } from '#worker/checkpoint/index.ts';
import { routerShapes } from '#worker/model/index.ts';
import type { LoadedModel } from '#worker/train/index.ts';
import type { CaseDocument, GoldenTensors } from './golden-case.ts';
import { smtOptions } from './golden-submatrices.ts';

interface MethodChoice {
  readonly name: string;
  readonly options: Record<string, unknown>;
}

type Options = Readonly<Record<string, unknown>>;

/** Drops entries that are undefined, so that the method's own default holds. */
function present(options: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
}

function fullOptions(o: Options): Record<string, unknown> {
  return present({
    auxLossCoefficient: o['auxLoss'] === true ? o['auxCoef'] : undefined,
    auxLossPooling: o['auxKind'] === 'deepseek-seq' ? 'perSequence' : o['auxPooling'],
    zLossCoefficient: o['zLossCoef'],
    auxAccumulation: o['auxAccumulation'] ?? undefined,
  });
}

function condenserOptions(o: Options): Record<string, unknown> {
  return present({
    phase: o['phase'] === 1 ? 'bias' : 'condensers',
    biasSpeed: o['gamma'],
    condenserBiasSpeed: o['gamma'],
    condensersPerLayer: o['r'],
    cadence: o['cadence'],
    usage: o['usage'],
    usageScope: o['usageScope'] === 'everyForward' ? undefined : o['usageScope'],
    padsInUsage: o['padsInUsage'],
    biasInWeights: o['biasInWeights'],
    budget: o['budget'],
    overlap: o['overlap'],
    biasDtype: o['biasDtype'],
    biasClip: o['biasClip'],
  });
}

function balancingOptions(o: Options): Record<string, unknown> {
  return { score: o['score'], normalise: o['normalise'] === true ? 'yes' : 'no', biasSpeed: o['gamma'] };
}

function localExpertOptions(o: Options): Record<string, unknown> {
  return present({
    rank: o['rank'],
    gate: o['gate'] === undefined ? 'none' : 'token',
    scale: o['gamma'],
    wrongTokenGain: o['wrongTokenGain'] ?? 0,
    trains: o['base'] === 'frozen' ? 'local' : 'all',
  });
}

/** Some cases do not name the reading: that of the published code for the family. */
function denseWeightsOf(document: CaseDocument): unknown {
  const { denseWeights } = (document['options'] ?? {}) as Options;
  return denseWeights ?? (document['family'] === 'qwen2moe' ? 'p' : 'p/S');
}

/** The experts of a case go through a file, as a user gives them. */
function esftOptions(document: CaseDocument, made: string): Record<string, unknown> {
  const o = (document['options'] ?? {}) as Options;
  writeFileSync(join(made, 'expert_cfg.json'), JSON.stringify(document['expert_config']));
  return { expertConfig: made, ...fullOptions(o) };
}

/** Adapters of a case go through their folder, as a user gives them; it decides rank, scale and targets. */
function adapterOptions(dir: string, o: Options): Record<string, unknown> {
  return o['adapters'] === true ? { adapterFolder: join(dir, 'adapter') } : {};
}

function adapterChoice(dir: string, o: Options): Record<string, unknown> {
  return o['adapters'] === true ? { adapters: adapterOptions(dir, o) } : {};
}

/**
 * The method a case asks for.
 * @param dir folder of the case.
 * @param made an empty folder for files that options name.
 * @throws UserError `parity/unsupported` when this project does not have it.
 */
export async function goldenMethod(dir: string, document: CaseDocument, made: string): Promise<MethodChoice> {
  const options = (document['options'] ?? {}) as Options;
  switch (document.method) {
    case undefined:
    case 'full':
      return { name: 'full', options: fullOptions(options) };
    case 'expert-condenser':
      return {
        name: 'expert-condenser',
        options: { ...condenserOptions(options), ...adapterChoice(dir, options) },
      };
    case 'lora':
    case 'dora':
      return { name: document.method, options: adapterOptions(dir, options) };
    case 'smt':
      return { name: 'smt', options: await smtOptions(dir, document) };
    case 'frozen-router':
      return { name: 'frozen-router', options: {} };
    case 'esft':
      return { name: 'esft', options: esftOptions(document, made) };
    case 'default-moe':
      return {
        name: 'default-moe',
        options: {
          defaultsIn: options['reading'] === 'D1' ? 'value' : 'gradient',
          beta: options['beta'],
        },
      };
    case 'densemixer':
      return {
        name: 'densemixer',
        options: { denseWeights: denseWeightsOf(document), ...adapterChoice(dir, options) },
      };
    case 'ds-moe':
      return {
        name: 'ds-moe',
        options: {
          mutualInformationCoefficient: options['miCoef'],
          mutualInformationAccumulation: options['miAccumulation'],
        },
      };
    case 'evomoe':
      return {
        name: 'evomoe',
        options: {
          threshold: options['threshold'],
          temperatureStart: options['tauMax'],
          temperatureEnd: options['tauMin'],
          schedule: options['tauSchedule'],
          fallSteps: options['hardAtStep'],
          noisyWeights: options['gumbelGates'],
          auxLossCoefficient: options['auxCoef'],
          fewest: 'one',
        },
      };
    case 'local-expert':
      return { name: 'local-expert', options: localExpertOptions(options) };
    case 'transformed-gate':
      return { name: 'transformed-gate', options: { activation: options['activation'] } };
    case 'loss-free-balancing':
      return { name: 'loss-free-balancing', options: balancingOptions(options) };
    default:
      throw new UserError('parity/unsupported', `method ${document.method} is not supported yet`);
  }
}

/** Default outputs of experts in the state of a session, one matrix for each MoE layer; empty where it has none. */
export function defaultOutputsOf({ session }: LoadedModel): Float32Array[] {
  const { success, data } = z.object({ outputs: z.array(z.base64()) }).safeParse(session.save());
  return success ? data.outputs.map((text) => decodeFloats(Buffer.from(text, 'base64'), 'F32')) : [];
}

/**
 * Gives a session what a case starts from: bias, usage and condensers, or default outputs of experts. Other cases have
 * neither.
 */
export function restoreGoldenRouter(
  model: LoadedModel,
  moeLayers: readonly number[],
  files: readonly GoldenTensors[],
): void {
  const find = (name: string): number[] | null => {
    const file = files.find((candidate) => candidate.has(name));
    return file === undefined ? null : Array.from(file.get(name).values);
  };
  const outputs = moeLayers.map((layer) => find(`init.ema.${layer}`));
  if (!outputs.some((layer) => layer === null)) {
    model.session.restore({
      outputs: outputs.map((layer) =>
        Buffer.from(encodeFloats(Float32Array.from(layer ?? []), 'F32')).toString('base64'),
      ),
      known: routerShapes(model.plan).map(({ experts }) => new Array<boolean>(experts).fill(true)),
    });
  }
  const bias = moeLayers.map((layer) => find(`init.bias.${layer}`));
  if (bias.some((layer) => layer === null)) return;
  const zeros = bias.map((layer) => (layer ?? []).map(() => 0));
  const condensers = moeLayers.map((layer) => find(`init.condensers.${layer}`));
  model.session.restore({
    bias,
    softUsage: moeLayers.map((layer, index) => find(`init.soft_usage.${layer}`) ?? zeros[index]),
    hardUsage: zeros,
    condensers: condensers.some((layer) => layer === null) ? null : condensers,
    pending: null,
  });
}
