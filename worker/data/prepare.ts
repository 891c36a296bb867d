/** From the `data` part of a run to data sets on disk: tokenized once, cached, split. */
import { createHash } from 'node:crypto';
import path from 'node:path';
import type { Finding } from '#core/contract/dataset.ts';
import { UserError, invariant } from '#core/contract/errors.ts';
import type { DataSpec } from '#core/contract/run-spec.ts';
import { joinParts } from './dataset.ts';
import type { Dataset, DatasetPart } from './dataset.ts';
import { openDataFile, scanExamples } from './examples.ts';
import type { DataFile, DataFileSpec } from './examples.ts';
import { FindingList, findDuplicates, findLeakage } from './findings.ts';
import { splitPoint } from './order.ts';
import type { ProcessOptions } from './processor.ts';
import { TokenCacheWriter, openTokenCache } from './token-cache.ts';
import type { TokenCache } from './token-cache.ts';
import type { Tokenizer } from './tokenizer/tokenizer.ts';

/** Raised whenever the same input would be tokenized or marked differently, or stored in another layout. */
const PROCESSING_VERSION = 1;

/** What data are prepared with. */
export interface PrepareOptions {
  readonly tokenizer: Tokenizer;
  /** Folder for tokenized files; may be shared between runs. */
  readonly cacheDir: string;
  /** Decides which rows are held out, where the specification has no seed for that. */
  readonly seed: number;
  /** Relative paths start here. Default: the working folder. */
  readonly baseDir?: string;
  /** Rows of the model's embedding; a larger token id is refused. */
  readonly modelVocabSize?: number;
  /** Called now and then while a file is tokenized. */
  readonly onProgress?: (file: string, rows: number) => void;
  readonly signal?: AbortSignal;
}

/** A file of a run, tokenized. */
export interface PreparedFile {
  readonly path: string;
  readonly sha256: string;
  readonly mapping: Readonly<Record<string, string>>;
  /** Examples with something to learn. */
  readonly examples: number;
  readonly cache: 'built' | 'reused' | 'rebuilt';
}

/** Counts over the files of a run. */
export interface DataStats {
  readonly trainExamples: number;
  readonly validationExamples: number;
  /** 0: there are no general data. */
  readonly generalExamples: number;
  /** Of the training set, after cutting. */
  readonly tokens: number;
  readonly trainedTokens: number;
  readonly truncatedRows: number;
  /** Longest row in tokens, before cutting. */
  readonly longest: number;
  /** Those of training and validation, and those of the general data. */
  readonly files: readonly PreparedFile[];
  readonly generalFiles: readonly PreparedFile[];
}

/** The data of a run, ready to be loaded. */
export interface PreparedData {
  readonly train: Dataset;
  readonly validation: Dataset | null;
  readonly general: Dataset | null;
  readonly stats: DataStats;
  readonly findings: readonly Finding[];
  /** Closes the cache files; the data sets can't be read any more. */
  close(): void;
}

interface CachedFile {
  readonly path: string;
  readonly name: string;
  readonly cache: TokenCache;
  readonly info: PreparedFile;
}

/**
 * Prepares the data of a run. Data sets read from disk: nothing but lengths and row numbers is held in memory.
 * @throws UserError naming file and row for data that can't be used; `data/nothing-to-train` when no trained token is left,
 *   `data/general-empty` when none is in the general data.
 */
export async function prepareData(spec: DataSpec, options: PrepareOptions): Promise<PreparedData> {
  const open: CachedFile[] = [];
  try {
    const cacheAll = async (files: readonly DataFileSpec[]) => {
      const cached: CachedFile[] = [];
      for (const file of files) {
        const item = await cacheFile(file, spec, options);
        open.push(item);
        cached.push(item);
      }
      return cached;
    };
    const trainFiles = await cacheAll(spec.train);
    const heldFiles = 'files' in spec.validation ? await cacheAll(spec.validation.files) : [];
    const generalFiles = await cacheAll(spec.general ?? []);
    const fraction = 'fraction' in spec.validation ? spec.validation.fraction : 0;
    const seed = ('fraction' in spec.validation ? spec.validation.seed : undefined) ?? options.seed;
    const split = trainFiles.map((file) => splitFile(file, fraction, seed));
    if (fraction > 0) ensureOneHeldOut(split, seed);
    const train = joinParts(split.map(({ train: part }) => part));
    const validation = joinParts([
      ...split.map(({ held }) => held),
      ...heldFiles.map((file) => splitFile(file, 0, 0).train),
    ]);
    const general = joinParts(generalFiles.map((file) => splitFile(file, 0, 0).train));
    if (spec.general !== undefined && general.length === 0) {
      throw new UserError(
        'data/general-empty',
        `the general data hold no trained token: ${spec.general.map((file) => file.path).join(', ')}`,
        'Check the mapping of these files, or set lossOn to "all".',
      );
    }
    const findings = collectFindings(trainFiles, heldFiles);
    if (train.length === 0) throw nothingToTrain(findings, spec);
    const summaries = trainFiles.map(({ cache }) => cache.summary);
    return {
      train,
      validation: validation.length > 0 ? validation : null,
      general: general.length > 0 ? general : null,
      stats: {
        trainExamples: train.length,
        validationExamples: validation.length,
        generalExamples: general.length,
        tokens: train.tokens,
        trainedTokens: train.trainedTokens,
        truncatedRows: summaries.reduce((sum, { truncatedRows }) => sum + truncatedRows, 0),
        longest: Math.max(...summaries.map(({ longest }) => longest)),
        files: [...trainFiles, ...heldFiles].map(({ info }) => info),
        generalFiles: generalFiles.map(({ info }) => info),
      },
      findings,
      close: () => open.forEach(({ cache }) => cache.close()),
    };
  } catch (error) {
    open.forEach(({ cache }) => cache.close());
    throw error;
  }
}

function nothingToTrain(findings: readonly Finding[], spec: DataSpec): UserError {
  const reasons = findings
    .filter(({ severity }) => severity !== 'info')
    .map(({ message, count }) => `${count.toLocaleString('en-US')} × ${message}`);
  return new UserError(
    'data/nothing-to-train',
    `the training data holds no trained token${reasons.length > 0 ? ` (${reasons.join('; ')})` : ''}`,
    findings.some(({ code }) => code === 'data/no-trained-token')
      ? `The prompts fill all of maxLength (${spec.maxLength}): raise it, or set lossOn to "all".`
      : 'Check the mapping: the column of the answer is empty or another one.',
  );
}

/** Opens the tokenized form of a file, building it where it is missing or damaged. */
async function cacheFile(file: DataFileSpec, spec: DataSpec, options: PrepareOptions): Promise<CachedFile> {
  const filePath = path.resolve(options.baseDir ?? '.', file.path);
  const data = await openDataFile({ path: filePath, mapping: file.mapping });
  try {
    const process: ProcessOptions = {
      tokenizer: options.tokenizer,
      template: spec.template,
      lossOn: spec.lossOn,
      maxLength: spec.maxLength,
      modelVocabSize: options.modelVocabSize,
    };
    const sha256 = await data.source.sha256();
    const key = cacheKey(data, sha256, process);
    const cacheFilePath = path.join(options.cacheDir, `${key}.tokens`);
    const found = await openTokenCache(cacheFilePath, key);
    const isOpen = typeof found !== 'string';
    if (!isOpen) await buildCache(data, cacheFilePath, key, process, options);
    const cache = isOpen ? found : await openTokenCache(cacheFilePath, key);
    invariant(typeof cache !== 'string', 'a token cache can be read right after it was written');
    const info: PreparedFile = {
      path: filePath,
      sha256,
      mapping: data.mapping,
      examples: cache.lengths.length,
      cache: isOpen ? 'reused' : found === 'missing' ? 'built' : 'rebuilt',
    };
    return { path: filePath, name: data.name, cache, info };
  } finally {
    await data.source.close();
  }
}

/** Names everything the tokens and labels of a file depend on. */
function cacheKey(data: DataFile, sha256: string, options: ProcessOptions): string {
  const parts = {
    version: PROCESSING_VERSION,
    data: sha256,
    format: data.source.format,
    mapping: Object.entries(data.mapping).sort(([a], [b]) => (a < b ? -1 : 1)),
    tokenizer: options.tokenizer.sha256,
    template: options.template,
    lossOn: options.lossOn,
    maxLength: options.maxLength,
    modelVocabSize: options.modelVocabSize ?? null,
  };
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex');
}

async function buildCache(
  data: DataFile,
  file: string,
  key: string,
  process: ProcessOptions,
  options: PrepareOptions,
): Promise<void> {
  const findings = new FindingList();
  const writer = await TokenCacheWriter.create(file);
  try {
    let rows = 0;
    let longest = 0;
    for await (const { row, contentHash, example } of scanExamples(data, {
      ...process,
      findings,
      strict: true,
    })) {
      options.signal?.throwIfAborted();
      rows += 1;
      longest = Math.max(longest, example.fullLength);
      if (example.trainedCount > 0) await writer.add(example, row, contentHash);
      if (rows % 256 === 0) options.onProgress?.(data.name, rows);
    }
    const truncatedRows = findings.count('data/truncated');
    await writer.finish(key, { rows, truncatedRows, longest, findings: findings.list() });
  } catch (error) {
    await writer.discard();
    throw error;
  }
}

interface SplitFile {
  readonly cache: TokenCache;
  train: DatasetPart;
  held: DatasetPart;
}

/** Divides a file by the content of its rows, so that equal rows stay on one side and added rows move no other. */
function splitFile({ path: file, cache }: CachedFile, fraction: number, seed: number): SplitFile {
  const train: number[] = [];
  const held: number[] = [];
  for (const [example, hash] of cache.hashes.entries()) {
    (fraction > 0 && splitPoint(seed, hash) < fraction ? held : train).push(example);
  }
  const part = (chosen: number[]): DatasetPart => ({ path: file, cache, chosen: Uint32Array.from(chosen) });
  return { cache, train: part(train), held: part(held) };
}

/** A small set may have no row below the fraction: then the row nearest to it is held out, if another is left to train on. */
function ensureOneHeldOut(files: SplitFile[], seed: number): void {
  const count = (side: 'train' | 'held') => files.reduce((sum, file) => sum + file[side].chosen.length, 0);
  if (count('held') > 0 || count('train') < 2) return;
  let nearest: { file: SplitFile; example: number; point: number } | undefined;
  for (const file of files) {
    for (const [example, hash] of file.cache.hashes.entries()) {
      const point = splitPoint(seed, hash);
      if (nearest === undefined || point < nearest.point) nearest = { file, example, point };
    }
  }
  if (nearest === undefined) return;
  const { file, example } = nearest;
  file.train = { ...file.train, chosen: file.train.chosen.filter((other) => other !== example) };
  file.held = { ...file.held, chosen: Uint32Array.of(example) };
}

function collectFindings(trainFiles: readonly CachedFile[], heldFiles: readonly CachedFile[]): Finding[] {
  const trainHashes = trainFiles.map(({ cache }) => cache.hashes);
  return [...trainFiles, ...heldFiles].flatMap((file) => {
    const list = new FindingList();
    if (heldFiles.includes(file)) findLeakage(trainHashes, file.cache, list);
    else findDuplicates(file.cache.hashes, file.cache.rows, list);
    const prefix = (message: string) =>
      message.startsWith(file.name) ? message : `${file.name}: ${message}`;
    return [...file.cache.summary.findings, ...list.list()].map((finding) => ({
      ...finding,
      message: prefix(finding.message),
    }));
  });
}
