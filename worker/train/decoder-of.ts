/** The decoder of a checkpoint folder: what its family says of its configuration, and the additions that lie beside it. */
import { z } from 'zod';
import { UserError } from '#core/contract/errors.ts';
import { explainIssues } from '#core/contract/explain-issues.ts';
import type { ModelFolder, SafetensorsFile } from '#worker/checkpoint/index.ts';
import { familyOf } from '#worker/families/index.ts';
import {
  Additions,
  additionsOf,
  isAddition,
  moeLayerIndices,
  parametersOf,
  withAdditions,
  type DecoderPlan,
  type Family,
} from '#worker/model/index.ts';

/** Key of the metadata of an additions file under which it says what it holds, as JSON. */
const KEY = 'condenser_additions';

const Stored = z.strictObject({ version: z.literal(1), ...Additions.shape });

/** Metadata of the file that holds the additions of `plan`. */
export function additionsMetadata(plan: DecoderPlan): Readonly<Record<string, string>> {
  return { format: 'pt', [KEY]: JSON.stringify({ version: 1, ...additionsOf(plan) }) };
}

/**
 * Family and plan of a folder.
 * @throws UserError `config/…`, and `additions/…` where the file of additions does not belong to the model.
 */
export function decoderOf({ config, additions: file }: Pick<ModelFolder, 'config' | 'additions'>): {
  readonly family: Family;
  readonly plan: DecoderPlan;
} {
  const family = familyOf(config);
  const published = family.plan(config);
  return { family, plan: file === null ? published : planWith(file, published) };
}

/** A plan with the additions of a file. */
function planWith(file: SafetensorsFile, published: DecoderPlan): DecoderPlan {
  if (moeLayerIndices(published).length === 0) {
    throw new UserError(
      'additions/other-model',
      `${file.file} is for a model with experts; this one (${published.family}) has none`,
      'Take the file away, or take the folder it was exported with.',
    );
  }
  const plan = withAdditions(published, readAdditions(file));
  const ids = new Set(
    parametersOf(plan).flatMap((parameter) => (isAddition(parameter) ? [parameter.id] : [])),
  );
  const surplus = [...file.tensors.keys()].find((name) => !ids.has(name));
  if (surplus === undefined) return plan;
  throw new UserError(
    'additions/other-model',
    `${file.file} holds ${surplus}, which its metadata and config.json do not imply`,
    'The file belongs to another model.',
  );
}

function readAdditions({ file, metadata }: SafetensorsFile): Additions {
  const parsed = Stored.safeParse(parseJson(metadata[KEY] ?? ''));
  if (parsed.success) return parsed.data;
  throw new UserError(
    'additions/invalid',
    `${file}: metadata ${KEY}: ${explainIssues(parsed.error, Stored)}`,
    'Export the run again with this version.',
  );
}

/** Undefined where `text` is no JSON. */
function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
