/** `generate RUN|MODEL`: continues a prompt, token by token. */
import path from 'node:path';
import { UserError, invariant } from '#core/contract/errors.ts';
import { readRunSpec } from '#core/store/index.ts';
import { encodeFloats } from '#worker/checkpoint/index.ts';
import { openTokenizer, renderPlain, type Tokenizer } from '#worker/data/index.ts';
import { moeLayerIndices } from '#worker/model/index.ts';
import { generateGreedy, loadModel, openTrainedWeights, type LoadedModel } from '#worker/train/index.ts';
import type { Command, Invocation } from './command.ts';
import { findRun, isRunFolder } from './find-run.ts';
import { number, table } from './terminal.ts';

const DEFAULT_TOKENS = 64;

/** A model ready to continue text. */
interface Speaker {
  readonly model: LoadedModel;
  readonly tokenizer: Tokenizer;
  readonly template: 'auto' | 'none';
  /** Step of the checkpoint; absent for a model folder. */
  readonly step?: number;
}

/** Generates greedily. */
export const generate: Command = async (invocation) => {
  const prompt = invocation.requiredText('prompt');
  const most = invocation.integer('max-new-tokens') ?? DEFAULT_TOKENS;
  const temperature = invocation.number('temperature') ?? 0;
  if (temperature !== 0) {
    throw new UserError(
      'cli/not-supported',
      `--temperature ${temperature} is not supported yet: only greedy generation is there`,
      'Leave it out, or give 0.',
    );
  }
  const speaker = await open(invocation);
  const { model, tokenizer } = speaker;
  try {
    const text = invocation.flag('plain') ? prompt : promptText(prompt, speaker);
    const promptIds = tokenizer.encode(text, { addSpecialTokens: invocation.flag('plain') }).ids;
    if (promptIds.length === 0)
      throw new UserError('generate/empty-prompt', 'the prompt has no tokens', 'Write one.');
    const ends = new Set([...model.plan.endIds, ...(tokenizer.eosId === null ? [] : [tokenizer.eosId])]);
    const newIds: number[] = [];
    let ended = false;
    const started = performance.now();
    await generateGreedy(model.executor, [Int32Array.from(promptIds)], most, (ids) => {
      const id = ids[0] ?? 0;
      ended = ends.has(id);
      if (!ended) newIds.push(id);
      invocation.terminal.progress(`${newIds.length} tokens`);
      return !ended;
    });
    const seconds = (performance.now() - started) / 1000;
    const made = newIds.length + Number(ended);
    const answer = tokenizer.decode(newIds, { skipSpecialTokens: true });
    const routing = invocation.flag('routing')
      ? await routingOf(speaker, [...promptIds, ...newIds])
      : undefined;
    return {
      document: {
        text: answer,
        ids: newIds,
        promptIds,
        stopped: ended ? 'end' : 'length',
        tokensPerSecond: made / seconds,
        ...(speaker.step !== undefined && { step: speaker.step }),
        ...(routing && { routing }),
      },
      text: [
        answer,
        ...(routing === undefined ? [] : ['', describeRouting(routing)]),
        '',
        `${made} tokens, ${number(made / seconds, 3)} tok/s${ended ? ', ended by itself' : ''}`,
      ].join('\n'),
    };
  } finally {
    model.close();
  }
};

async function open(invocation: Invocation): Promise<Speaker> {
  const [name = ''] = invocation.args;
  if (!isRunFolder(name) && !name.startsWith('run_')) {
    const modelDir = path.resolve(name);
    const tokenizer = await openTokenizer(modelDir);
    const model = await loadModel({ modelDir, method: { name: 'full', options: {} }, trains: false });
    return { model, tokenizer, template: 'auto' };
  }
  const runDir = findRun(name, invocation.home);
  const spec = readRunSpec(runDir);
  const weights = openTrainedWeights(runDir);
  try {
    const tokenizer = await openTokenizer(spec.model.path);
    const model = await loadModel({
      modelDir: spec.model.path,
      method: spec.method,
      submatrices: weights.adapters?.kind === 'submatrices' ? weights.adapters : null,
      trains: false,
    });
    for (const id of weights.ids) setWeight(model, id, weights.read(id));
    model.session.restore(weights.method);
    return { model, tokenizer, template: spec.data.template, step: weights.step };
  } finally {
    weights.close();
  }
}

/** Replaces a weight that is held for inference; half precision is rounded to, as an export in the source's type is. */
function setWeight({ store }: LoadedModel, id: string, values: Float32Array): void {
  const { dtype, data } = store.weight(id);
  if (dtype === 'float32') {
    invariant(data instanceof Float32Array, `${id} is float32`);
    data.set(values);
    return;
  }
  invariant(data instanceof Uint16Array, `${id} is held in 16 bits`);
  const bytes = encodeFloats(values, dtype === 'bfloat16' ? 'BF16' : 'F16');
  data.set(new Uint16Array(bytes.buffer, bytes.byteOffset, values.length));
}

/** The prompt as training would have shown it. */
function promptText(prompt: string, { tokenizer, template }: Speaker): string {
  const messages = [{ role: 'user', content: prompt }] as const;
  if (template === 'auto' && tokenizer.hasChatTemplate) {
    return tokenizer.renderChat(messages, { addGenerationPrompt: true });
  }
  return renderPlain(messages, tokenizer.eosToken).text;
}

/** Where one token went in one layer: experts by falling weight. */
interface TokenRouting {
  readonly token: string;
  readonly id: number;
  readonly layers: readonly {
    readonly layer: number;
    readonly experts: readonly number[];
    readonly weights: readonly number[];
  }[];
}

/** Routing of every token of a text, prompt included. */
async function routingOf({ model, tokenizer }: Speaker, ids: readonly number[]): Promise<TokenRouting[]> {
  const moe = moeLayerIndices(model.plan);
  const { routing } = await model.executor.logits(
    {
      batch: 1,
      sequence: ids.length,
      inputIds: Int32Array.from(ids),
      labels: new Int32Array(ids.length).fill(-100),
      positions: Int32Array.from(ids, (_, position) => position),
      segments: new Int32Array(ids.length).fill(1),
    },
    Int32Array.of(ids.length - 1),
  );
  return ids.map((id, position) => ({
    token: tokenizer.decode([id]),
    id,
    layers: routing.map(({ weights_NE }, index) => {
      const experts = weights_NE.length / ids.length;
      const weights_E = weights_NE.subarray(position * experts, (position + 1) * experts);
      const chosen = Array.from(weights_E.keys())
        .filter((expert) => weights_E[expert] !== 0)
        .sort((a, b) => (weights_E[b] ?? 0) - (weights_E[a] ?? 0));
      return {
        layer: moe[index] ?? index,
        experts: chosen,
        weights: chosen.map((expert) => weights_E[expert] ?? 0),
      };
    }),
  }));
}

function describeRouting(routing: readonly TokenRouting[]): string {
  const layers = routing[0]?.layers ?? [];
  return table([
    ['token', ...layers.map(({ layer }) => `layer ${layer}`)],
    ...routing.map(({ token, layers: row }) => [
      JSON.stringify(token),
      ...row.map(({ experts, weights }) =>
        experts.map((expert, i) => `${expert}:${(weights[i] ?? 0).toFixed(2)}`).join(' '),
      ),
    ]),
  ]);
}
