/** `generate RUN|MODEL`: continues a prompt, token by token. */
import { UserError } from '#core/contract/errors.ts';
import { promptIds as idsOfPrompt } from '#worker/data/index.ts';
import { unpaddedBatch } from '#worker/engine/index.ts';
import { moeLayerIndices } from '#worker/model/index.ts';
import { endIds, generateTokens, likeliest, sampled, type OpenedModel } from '#worker/train/index.ts';
import type { Command } from './command.ts';
import { openNamed } from './open-model.ts';
import { number, table } from './terminal.ts';

const DEFAULT_TOKENS = 64;

/** Generates greedily, or draws by temperature. */
export const generate: Command = async (invocation) => {
  const prompt = invocation.requiredText('prompt');
  const most = invocation.integer('max-new-tokens') ?? DEFAULT_TOKENS;
  const temperature = invocation.number('temperature') ?? 0;
  if (temperature < 0)
    throw new UserError('cli/bad-value', `--temperature is ${temperature}`, 'Expected 0 or more.');
  const seed = invocation.integer('seed', 0) ?? 0;
  const speaker = await openNamed(invocation.args[0] ?? '', invocation.home);
  const { model, tokenizer } = speaker;
  try {
    const promptIds = invocation.flag('plain')
      ? tokenizer.encode(prompt, { addSpecialTokens: true }).ids
      : idsOfPrompt([{ role: 'user', content: prompt }], speaker);
    if (promptIds.length === 0)
      throw new UserError('generate/empty-prompt', 'the prompt has no tokens', 'Write one.');
    const ends = endIds(speaker);
    const newIds: number[] = [];
    let ended = false;
    const started = performance.now();
    await generateTokens(
      model.executor,
      [Int32Array.from(promptIds)],
      most,
      (id) => {
        ended = ends.has(id);
        if (!ended) newIds.push(id);
        invocation.terminal.progress(`${newIds.length} ${newIds.length === 1 ? 'token' : 'tokens'}`);
        return !ended;
      },
      temperature === 0 ? likeliest : sampled(temperature, seed),
    );
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
async function routingOf({ model, tokenizer }: OpenedModel, ids: readonly number[]): Promise<TokenRouting[]> {
  const moe = moeLayerIndices(model.plan);
  const { routing } = await model.executor.logits(
    unpaddedBatch(Int32Array.from(ids)),
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
