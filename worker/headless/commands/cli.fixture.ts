/** A tiny model with a tokenizer, a data set, and the command line called in this process. */
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { readSafetensors } from '#worker/checkpoint/index.ts';
import { runCommandLine } from './run-command-line.ts';

/** A folder for one test file, with `model/`, `data.jsonl` and `run.json`. */
export interface Site {
  readonly dir: string;
  readonly home: string;
  readonly model: string;
  readonly data: string;
  readonly runFile: string;
  remove(): void;
}

/** Words of the tokenizer's vocabulary: `<unk>`, `<eos>`, `w2` … */
const VOCABULARY = 199;

/** Writes the tokenizer into a model folder: `<unk>`, `<eos>`, `w2` and so on, separated by spaces. */
export function writeTokenizer(model: string): void {
  const words = Array.from({ length: VOCABULARY }, (_, id) => ['<unk>', '<eos>'][id] ?? `w${id}`);
  const tokenizer = {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: [1].map((id) => ({
      id,
      content: '<eos>',
      special: true,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
    })),
    normalizer: null,
    pre_tokenizer: { type: 'WhitespaceSplit' },
    post_processor: null,
    decoder: null,
    model: {
      type: 'WordLevel',
      vocab: Object.fromEntries(words.map((word, id) => [word, id])),
      unk_token: '<unk>',
    },
  };
  writeFileSync(path.join(model, 'tokenizer.json'), JSON.stringify(tokenizer));
  writeFileSync(path.join(model, 'tokenizer_config.json'), JSON.stringify({ eos_token: '<eos>' }));
}

/** Makes the folder. The run has 4 steps and evaluates and saves every 2. */
export function makeSite(): Site {
  const dir = mkdtempSync(path.join(os.tmpdir(), 'condenser-cli-'));
  const model = path.join(dir, 'model');
  cpSync(path.join(import.meta.dirname, '../../testing/goldens/families/olmoe/model'), model, {
    recursive: true,
  });
  writeTokenizer(model);
  const data = path.join(dir, 'data.jsonl');
  const rows = Array.from({ length: 40 }, (_, i) => ({
    question: `w${2 + (i % 50)} w${60 + (i % 7)}`,
    answer: `w${100 + (i % 50)} w${2 + ((3 * i) % 90)} w${2 + (i % 50)}`,
  }));
  writeFileSync(data, rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
  const runFile = path.join(dir, 'run.json');
  const run = {
    name: 'tiny',
    model: { path: 'model' },
    data: {
      train: [{ path: 'data.jsonl', mapping: { prompt: 'question', response: 'answer' } }],
      validation: { fraction: 0.2 },
      maxLength: 16,
    },
    method: { name: 'expert-condenser', options: { biasSpeed: 0.01, condensersPerLayer: 1 } },
    train: { steps: 4, microBatch: 2, gradientAccumulation: 1, learningRate: 0.001 },
    evaluate: { everySteps: 2 },
    checkpoint: { everySteps: 2 },
  };
  writeFileSync(runFile, JSON.stringify(run));
  return {
    dir,
    home: path.join(dir, 'home'),
    model,
    data,
    runFile,
    remove: () => rmSync(dir, { recursive: true }),
  };
}

/** What one command line wrote, and how it ended. */
export interface Said {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
  /** The documents on stdout, one a line. */
  json(): Record<string, unknown>[];
}

/** Runs a command line in this process. */
export async function condenser(...argv: readonly string[]): Promise<Said> {
  let stdout = '';
  let stderr = '';
  const status = await runCommandLine(
    argv,
    { write: (text) => void (stdout += text) },
    { write: (text) => void (stderr += text) },
  );
  const json = () =>
    stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  return { status, stdout, stderr, json };
}

/** The tensors of a safetensors file: their entries, and the bytes of each as text. */
export function tensorsOf(file: string) {
  const opened = readSafetensors(file);
  const all = new Map([...opened.tensors.values()].map((entry) => [entry.name, entry]));
  const bytes = (name: string) => {
    const entry = all.get(name);
    const target = new Uint8Array(entry === undefined ? 0 : entry.end - entry.begin);
    opened.readInto(name, target);
    return Buffer.from(target).toString('base64');
  };
  return { all, bytes };
}
