/** Runs any golden case. */
import { basename, dirname, join } from 'node:path';
import { UserError } from '#core/contract/errors.ts';
import { withTemporaryFolder } from '#core/process/temporary-folder.ts';
import { readCase, type CaseResult, type Check, type Computing } from './golden-case.ts';
import { checkForwardCase } from './golden-forward.ts';
import { checkGenerationCase } from './golden-generation.ts';
import { checkMetricsCase } from './golden-metrics.ts';
import { checkSelectionCase } from './golden-selection.ts';
import { checkTokenizerCase } from './golden-tokenizers.ts';
import { checkTrainingCase } from './golden-training.ts';
import { checkTransformCase } from './golden-transform.ts';
import { goldenTokenizerPackage } from './golden-tokenizer-package.ts';

/** Cases that compute with a model, which another provider can do too. */
const COMPUTED: ReadonlySet<string> = new Set(['forward-backward', 'generation', 'training']);

async function checksOf(dir: string, computing: Computing, made: string): Promise<Check[]> {
  const document = readCase(dir);
  if (computing.provider === 'webgpu' && !COMPUTED.has(document.kind)) {
    throw new UserError('parity/cpu-only', `cases of kind ${document.kind} are checked on the CPU only`);
  }
  switch (document.kind) {
    case 'forward-backward':
      return checkForwardCase(dir, document, made, computing);
    case 'generation':
      return checkGenerationCase(dir, document, computing);
    case 'training':
      return checkTrainingCase(dir, document, made, computing);
    case 'expert-selection':
      return checkSelectionCase(dir, document);
    case 'metrics':
      return checkMetricsCase(dir, document);
    case 'transform':
      return checkTransformCase(dir, document, made);
    case 'tokenizer':
      return checkTokenizerCase(dir, goldenTokenizerPackage(document));
    default:
      throw new UserError('parity/unsupported', `cases of kind ${document.kind} are not supported yet`);
  }
}

/**
 * Runs the case in `dir`, with the same limits on every provider, and wider ones where frozen weights are float16. What this project
 * cannot do yet is reported as `unsupported` and counts as failed; anything else that goes wrong is thrown.
 */
export async function runCase(dir: string, computing: Computing = {}): Promise<CaseResult> {
  const name = join(basename(dirname(dir)), basename(dir));
  try {
    const own = await withTemporaryFolder('golden', (made) => checksOf(dir, computing, made));
    const isHalf = computing.deviceWeights === 'float16';
    const checks = own.map(({ withFloat16, ...check }) => (isHalf ? { ...check, ...withFloat16 } : check));
    return { case: name, ok: checks.length > 0 && checks.every((check) => check.ok), checks };
  } catch (error) {
    if (error instanceof UserError) return { case: name, ok: false, unsupported: error.message, checks: [] };
    throw error;
  }
}
