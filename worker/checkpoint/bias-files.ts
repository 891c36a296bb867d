import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { UserError, invariant } from '#core/contract/errors.ts';
import { writeJsonObject } from './file-system.ts';
import { isObject, readJsonObject, type JsonValue } from './json-file.ts';

/**
 * The files in which the published ExpertCondenser code keeps what a checkpoint's weights do not hold: the router
 * biases, and the condenser experts that are always on. Written in its exact form, so that its loader reads them;
 * read in every form it has had.
 */
const BIAS_FILE = 'moe_bias_states.json';
const FORCED_FILES = ['forced_experts_records.json', 'forced_experts_mapping.json', 'forced_experts.json'];
const FORCED_KEYS = ['forced_experts_records', 'forced_experts', 'experts'];

/** What both files say of one layer besides their own fact. */
interface LayerModule {
  /** Index of the decoder layer. */
  readonly layer: number;
  /** Module path in the model: `model.layers.<l>.mlp`, for DeepSeek `model.layers.<l>.mlp.gate`. */
  readonly modulePath: string;
}

/** Router bias of one layer. */
export interface LayerBias extends LayerModule {
  /** One value per expert. */
  readonly bias_E: Float32Array;
  /** Step of the bias rule; undefined when the file does not say. */
  readonly updateSpeed?: number;
}

/** Condenser experts of one layer, in the order of selection. */
export interface LayerForcedExperts extends LayerModule {
  readonly experts: readonly number[];
  /** Number of experts of the layer; undefined when the file does not say. */
  readonly totalExperts?: number;
}

/** What the writers add to the layers. */
export interface BiasFileOptions {
  /** Class name of the model, e.g. `OlmoeForCausalLM`. */
  readonly modelType: string;
  /** Class name of the module that carries the bias, e.g. `AuxFreeOlmoeSparseMoeBlock`. */
  readonly moduleType: string;
  readonly savedAt: Date;
  /** Facts of this project under the key `project`, which other readers ignore. */
  readonly project?: JsonValue;
}

/** Python's `datetime.isoformat()`: no zone. */
const timestamp = (date: Date): string => date.toISOString().slice(0, 19);

/** Writes `moe_bias_states.json` into a folder. */
export function writeBiasStates(
  folder: string,
  layers: readonly LayerBias[],
  options: BiasFileOptions,
): void {
  const states = layers.map(({ modulePath, bias_E, updateSpeed }): [string, JsonValue] => {
    invariant(updateSpeed !== undefined, `${modulePath}: the published format needs the update speed`);
    invariant(bias_E.every(Number.isFinite), `${modulePath}: bias is not finite`);
    const state = {
      bias_values: [...bias_E],
      bias_update_speed: updateSpeed,
      num_experts: bias_E.length,
      module_type: options.moduleType,
      device: 'cpu',
      dtype: 'torch.float32',
    };
    return [modulePath, state];
  });
  writeJsonObject(join(folder, BIAS_FILE), 'bias-file', {
    metadata: {
      total_moe_layers: layers.length,
      save_timestamp: timestamp(options.savedAt),
      model_type: options.modelType,
    },
    moe_bias_states: Object.fromEntries(states),
    ...(options.project === undefined ? {} : { project: options.project }),
  });
}

/** Writes `forced_experts_records.json` into a folder. */
export function writeForcedExperts(
  folder: string,
  layers: readonly (LayerForcedExperts & { readonly totalExperts: number })[],
  options: Pick<BiasFileOptions, 'savedAt' | 'project'>,
): void {
  const records = layers.map(({ modulePath, experts, totalExperts }): [string, JsonValue] => [
    modulePath,
    { forced_expert_indices: experts, num_forced_experts: experts.length, total_experts: totalExperts },
  ]);
  writeJsonObject(join(folder, FORCED_FILES[0] ?? ''), 'bias-file', {
    metadata: { total_layers: layers.length, timestamp: timestamp(options.savedAt) },
    forced_experts_records: Object.fromEntries(records),
    ...(options.project === undefined ? {} : { project: options.project }),
  });
}

/** The path itself when it is a file; of a folder, the first of `names` that exists; otherwise undefined. */
function findFile(path: string, names: readonly string[]): string | undefined {
  if (!statSync(path, { throwIfNoEntry: false })?.isDirectory()) return existsSync(path) ? path : undefined;
  return names.map((name) => join(path, name)).find((file) => existsSync(file));
}

function fail(file: string, where: string, expected: string): UserError {
  return new UserError(
    'bias-file/invalid',
    `${file}: ${where} must be ${expected}.`,
    'Save the file again with the program that wrote it.',
  );
}

/** Layer index of an entry; a trailing `.gate`, which only some families have, makes no difference to it. */
function parseModule(file: string, modulePath: string): LayerModule {
  const layer = /(?:^|\.)layers\.(\d+)(?:\.|$)/.exec(modulePath)?.[1];
  if (layer === undefined)
    throw fail(file, `key ${JSON.stringify(modulePath)}`, 'a module path such as "model.layers.0.mlp"');
  return { layer: Number(layer), modulePath };
}

function parseLayers<T extends LayerModule>(
  file: string,
  records: unknown,
  key: string,
  parse: (module: LayerModule, record: unknown, where: string) => T,
): readonly T[] {
  if (!isObject(records)) throw fail(file, JSON.stringify(key), 'an object with one entry per layer');
  const layers = Object.entries(records).map(([path, record]) =>
    parse(parseModule(file, path), record, path),
  );
  const seen = new Set<number>();
  for (const { layer } of layers) {
    if (seen.has(layer))
      throw fail(file, JSON.stringify(key), `one entry per layer, but layer ${layer} has two`);
    seen.add(layer);
  }
  return layers.sort((a, b) => a.layer - b.layer);
}

/**
 * Reads router biases from a `moe_bias_states.json`, or from a folder that holds one; in order of layers.
 * @returns undefined when there is no such file
 * @throws UserError `bias-file/…` naming file and layer
 */
export function readBiasStates(path: string): readonly LayerBias[] | undefined {
  const file = findFile(path, [BIAS_FILE]);
  if (file === undefined) return undefined;
  const { moe_bias_states: states } = readJsonObject(file, 'bias-file');
  return parseLayers(file, states, 'moe_bias_states', (module, record, where) => {
    const {
      bias_values: values,
      num_experts: experts,
      bias_update_speed: speed,
    } = isObject(record) ? record : {};
    if (!Array.isArray(values) || values.length === 0 || !values.every(Number.isFinite)) {
      throw fail(file, `bias_values of ${where}`, 'a list of finite numbers');
    }
    if (experts !== undefined && experts !== values.length) {
      throw fail(file, `num_experts of ${where}`, `the number of bias_values, ${values.length}`);
    }
    if (speed !== undefined && (typeof speed !== 'number' || !Number.isFinite(speed))) {
      throw fail(file, `bias_update_speed of ${where}`, 'a number');
    }
    const bias_E = Float32Array.from(values as readonly number[]);
    return { ...module, bias_E, ...(speed === undefined ? {} : { updateSpeed: speed }) };
  });
}

/**
 * Reads condenser experts from a file, or from a folder that holds one under any of its three names; in order of
 * layers. An entry is an object with `forced_expert_indices`, or just the list.
 * @returns undefined when there is no such file
 * @throws UserError `bias-file/…` naming file and layer
 */
export function readForcedExperts(path: string): readonly LayerForcedExperts[] | undefined {
  const file = findFile(path, FORCED_FILES);
  if (file === undefined) return undefined;
  const content = readJsonObject(file, 'bias-file');
  const key = FORCED_KEYS.find((name) => Object.hasOwn(content, name));
  if (key === undefined) throw fail(file, 'the top object', `one with the key ${FORCED_KEYS.join(' or ')}`);
  return parseLayers(file, content[key], key, (module, record, where) => {
    const fields = isObject(record) ? record : { forced_expert_indices: record };
    const { forced_expert_indices: experts, num_forced_experts: count, total_experts: total } = fields;
    const limit = typeof total === 'number' ? total : Infinity;
    if (total !== undefined && !Number.isSafeInteger(total)) {
      throw fail(file, `total_experts of ${where}`, 'a whole number');
    }
    const isExpert = (id: unknown): boolean =>
      Number.isSafeInteger(id) && Number(id) >= 0 && Number(id) < limit;
    if (!Array.isArray(experts) || !experts.every(isExpert) || new Set(experts).size !== experts.length) {
      throw fail(
        file,
        `forced_expert_indices of ${where}`,
        `a list of different expert numbers below ${limit}`,
      );
    }
    if (count !== undefined && count !== experts.length) {
      throw fail(file, `num_forced_experts of ${where}`, `the number of indices, ${experts.length}`);
    }
    const indices = experts as readonly number[];
    return { ...module, experts: indices, ...(total === undefined ? {} : { totalExperts: limit }) };
  });
}
