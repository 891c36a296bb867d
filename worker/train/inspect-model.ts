/** What a checkpoint folder holds, without loading its weights. */
import { basename } from 'node:path';
import { UserError } from '#core/contract/errors.ts';
import type { ModelSummary } from '#core/contract/model.ts';
import { openModelFolder, type ModelFolder } from '#worker/checkpoint/index.ts';
import { openTokenizer } from '#worker/data/index.ts';
import { locateParameter } from '#worker/engine/index.ts';
import {
  activeParameterCount,
  elementCount,
  moeLayerIndices,
  parametersOf,
  routerShapes,
  type DecoderPlan,
  type Family,
  type ParameterRole,
} from '#worker/model/index.ts';
import { decoderOf } from './decoder-of.ts';

/** A message and its hint in one sentence for lists of problems; anything but a user's error is thrown on. */
function problemOf(error: unknown): string {
  if (!(error instanceof UserError)) throw error;
  return error.hint === undefined ? error.message : `${error.message} (${error.hint})`;
}

/** The group of parameters a role is counted in. */
function kindOf(role: ParameterRole): string {
  if (role === 'embedding' || role === 'head') return 'embedding and head';
  if (role.endsWith('Norm')) return 'norms';
  if (role.startsWith('expert')) return 'experts';
  if (role.startsWith('shared')) return 'shared experts';
  if (role.startsWith('dense')) return 'dense layers';
  if (role.startsWith('gate')) return 'learned gates';
  if (role.startsWith('local')) return 'local experts';
  if (role === 'router' || role === 'routerBias' || role === 'selectionBias') return 'routers';
  return 'attention';
}

/**
 * Describes a checkpoint folder. Everything wrong with it is listed in `problems`.
 * @throws UserError when it is no checkpoint folder of a supported family at all.
 */
export async function inspectModel(dir: string): Promise<ModelSummary> {
  const folder = await openModelFolder(dir);
  try {
    const { family, plan } = decoderOf(folder);
    const problems = weightProblems(folder, family, plan);
    const tokenizer = await tokenizerSummary(dir, plan, problems);
    const parameters = parametersOf(plan);
    const byKind: Record<string, number> = {};
    for (const parameter of parameters) {
      const kind = kindOf(parameter.role);
      byKind[kind] = (byKind[kind] ?? 0) + elementCount(parameter.shape);
    }
    const dtypes = new Set([...folder.tensors.values()].map((tensor) => tensor.dtype));
    const shape = routerShapes(plan)[0];
    return {
      path: dir,
      name: basename(dir),
      family: family.name,
      parameters: {
        total: parameters.reduce((sum, parameter) => sum + elementCount(parameter.shape), 0),
        active: Math.round(activeParameterCount(plan)),
        byKind,
      },
      layers: plan.layers.length,
      moeLayers: moeLayerIndices(plan).length,
      experts: shape?.experts ?? 0,
      expertsPerToken: shape?.expertsPerToken ?? 0,
      hiddenSize: plan.hiddenSize,
      vocabularySize: plan.vocabularySize,
      dtype: [...dtypes].sort().join(', '),
      bytes: folder.totalBytes,
      shards: folder.files.filter(({ name }) => name.endsWith('.safetensors')).length,
      tokenizer,
      problems,
    };
  } finally {
    folder.close();
  }
}

function weightProblems(folder: ModelFolder, family: Family, plan: DecoderPlan): string[] {
  return parametersOf(plan).flatMap((parameter) => {
    try {
      locateParameter(folder, family, plan, parameter);
      return [];
    } catch (error) {
      return [problemOf(error)];
    }
  });
}

async function tokenizerSummary(
  dir: string,
  plan: DecoderPlan,
  problems: string[],
): Promise<ModelSummary['tokenizer']> {
  try {
    const tokenizer = await openTokenizer(dir);
    if (tokenizer.idLimit > plan.vocabularySize) {
      problems.push(
        `the tokenizer has ids up to ${tokenizer.idLimit - 1}, the embedding only ${plan.vocabularySize} rows (They do not belong together.)`,
      );
    }
    return { present: true, vocabularySize: tokenizer.vocabSize, chatTemplate: tokenizer.hasChatTemplate };
  } catch (error) {
    problems.push(problemOf(error));
    return { present: false, chatTemplate: false };
  }
}
