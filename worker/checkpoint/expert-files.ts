/**
 * The files of expert-specialised fine-tuning in the format its published code uses: which experts train, and the scores
 * they were chosen by. Layers and experts are the keys of objects. Unknown keys are ignored.
 */
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { UserError } from '#core/contract/errors.ts';
import { explainIssues } from '#core/contract/explain-issues.ts';
import { writeJsonObject } from './file-system.ts';
import { readJsonObject, type JsonValue } from './json-file.ts';

const CONFIG_FILE = 'expert_cfg.json';
const SCORES_FILE = 'expert_scores.json';

const index = z.string().regex(/^\d+$/);

const Config = z.object({
  experts: z.record(
    index,
    z.array(z.int().min(0)).refine((ids) => new Set(ids).size === ids.length, 'an expert is listed twice'),
  ),
  shared_experts: z.boolean().default(false),
  non_expert_modules: z.boolean().default(false),
});

const Scores = z.object({
  token_scores: z.record(index, z.record(index, z.number())),
  gate_scores: z.record(index, z.record(index, z.number())),
});

/** What trains. Layers are numbered as the file does. */
export interface ExpertConfigFile {
  /** Layer → experts, the highest score first. */
  readonly experts: ReadonlyMap<number, readonly number[]>;
  readonly sharedExperts: boolean;
  readonly nonExpertModules: boolean;
}

/** How much each expert was used on a sample: layer → one score for each expert. */
export interface ExpertScoresFile {
  readonly token: ReadonlyMap<number, readonly number[]>;
  readonly gate: ReadonlyMap<number, readonly number[]>;
}

function read<Schema extends z.ZodType>(
  path: string,
  name: string,
  schema: Schema,
): { readonly file: string; readonly content: z.output<Schema> } {
  const file = statSync(path, { throwIfNoEntry: false })?.isDirectory() === true ? join(path, name) : path;
  const parsed = schema.safeParse(readJsonObject(file, 'expert-file'));
  if (!parsed.success) {
    throw new UserError(
      'expert-file/invalid',
      `${file}: ${explainIssues(parsed.error, schema)}`,
      'Expected is the format of the published ESFT code: {"experts": {"0": [3, 17], …}, "shared_experts": false, "non_expert_modules": false}.',
    );
  }
  return { file, content: parsed.data };
}

/** Layers by number. */
function byLayer<T, U>(record: Readonly<Record<string, T>>, valueOf: (value: T) => U): Map<number, U> {
  return new Map(
    Object.entries(record).map(([layer, value]): [number, U] => [Number(layer), valueOf(value)]),
  );
}

/**
 * Reads an expert configuration, or the `expert_cfg.json` of a folder.
 * @throws UserError `expert-file/…` naming file and field.
 */
export function readExpertConfig(path: string): ExpertConfigFile {
  const { content } = read(path, CONFIG_FILE, Config);
  return {
    experts: byLayer(content.experts, (experts) => experts),
    sharedExperts: content.shared_experts,
    nonExpertModules: content.non_expert_modules,
  };
}

/** Writes `expert_cfg.json` into a folder. */
export function writeExpertConfig(folder: string, config: ExpertConfigFile): void {
  writeJsonObject(join(folder, CONFIG_FILE), 'expert-file', {
    experts: Object.fromEntries(config.experts),
    shared_experts: config.sharedExperts,
    non_expert_modules: config.nonExpertModules,
  });
}

/**
 * Reads the scores that `writeExpertScores` wrote into a folder.
 * @returns undefined when there are none
 * @throws UserError `expert-file/…` naming file and field.
 */
export function readExpertScores(folder: string): ExpertScoresFile | undefined {
  if (!existsSync(join(folder, SCORES_FILE))) return undefined;
  const { content } = read(folder, SCORES_FILE, Scores);
  // Whole-number keys of an object come in rising order.
  const scores = (record: z.output<typeof Scores>['token_scores']) =>
    byLayer(record, (layer) => Object.values(layer));
  return { token: scores(content.token_scores), gate: scores(content.gate_scores) };
}

/** Writes `expert_scores.json` into a folder, unrounded: what is chosen by it must not change when it is read back. */
export function writeExpertScores(folder: string, scores: ExpertScoresFile): void {
  const plain = (layers: ReadonlyMap<number, readonly number[]>): JsonValue =>
    Object.fromEntries([...layers].map(([layer, values]) => [layer, Object.fromEntries(values.entries())]));
  writeJsonObject(join(folder, SCORES_FILE), 'expert-file', {
    token_scores: plain(scores.token),
    gate_scores: plain(scores.gate),
  });
}
