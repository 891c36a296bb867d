/** Runs any golden case. */
import { basename, dirname, join } from 'node:path';
import { UserError } from '#core/contract/errors.ts';
import { readCase, type CaseResult, type Check } from './golden-case.ts';
import { checkForwardCase } from './golden-forward.ts';
import { checkGenerationCase } from './golden-generation.ts';
import { checkMetricsCase } from './golden-metrics.ts';
import { checkSelectionCase } from './golden-selection.ts';
import { checkTokenizerCase } from './golden-tokenizers.ts';
import { checkTrainingCase } from './golden-training.ts';
import { checkTransformCase } from './golden-transform.ts';
import { goldenTokenizerPackage } from './golden-tokenizer-package.ts';

async function checksOf(dir: string): Promise<Check[]> {
  const document = readCase(dir);
  switch (document.kind) {
    case 'forward-backward':
      return checkForwardCase(dir, document);
    case 'generation':
      return checkGenerationCase(dir, document);
    case 'training':
      return checkTrainingCase(dir, document);
    case 'expert-selection':
      return checkSelectionCase(dir, document);
    case 'metrics':
      return checkMetricsCase(dir, document);
    case 'transform':
      return checkTransformCase(dir, document);
    case 'tokenizer':
      return checkTokenizerCase(dir, goldenTokenizerPackage(document));
    default:
      throw new UserError('parity/unsupported', `cases of kind ${document.kind} are not supported yet`);
  }
}

/**
 * Runs the case in `dir`. What this project cannot do yet is reported as `unsupported` and counts as failed; anything
 * else that goes wrong is thrown.
 */
export async function runCase(dir: string): Promise<CaseResult> {
  const name = join(basename(dirname(dir)), basename(dir));
  try {
    const checks = await checksOf(dir);
    return { case: name, ok: checks.length > 0 && checks.every((check) => check.ok), checks };
  } catch (error) {
    if (error instanceof UserError) return { case: name, ok: false, unsupported: error.message, checks: [] };
    throw error;
  }
}
