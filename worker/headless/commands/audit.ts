/** `audit BASE TUNED`: what tuning did to the routing of requests that the base model refuses. */
import { writeFileSync } from 'node:fs';
import type { AnswerAudit, RoutingAudit } from '#core/contract/audit.ts';
import { UserError } from '#core/contract/errors.ts';
import type { Share } from '#core/contract/share.ts';
import {
  answerFlags,
  answerWords,
  auditLayer,
  auditUnits,
  auditWords,
  isRefusal,
  profileLayer,
  refusalRule,
  shareOf,
  unitWords,
  type ProjectionPeaks,
} from '#core/report/index.ts';
import { runFiles, writeAudit } from '#core/store/index.ts';
import { moeLayerIndices, routerShapes } from '#worker/model/index.ts';
import { uniform } from '#worker/random/index.ts';
import {
  answerGreedily,
  comparePrompts,
  endIds,
  unitPeaks,
  weightChanges,
  type LoadedModel,
  type OpenedModel,
  type Prompt,
} from '#worker/train/index.ts';
import { EXIT, type Command, type Invocation } from './command.ts';
import { openNamed } from './open-model.ts';
import { readPrompts } from './read-prompts.ts';
import { number, table } from './terminal.ts';
import path from 'node:path';

/** Prompts of each kind below which a profile says little. */
const FEW_PROMPTS = 100;

/** Measures, prints, and keeps the result beside a run. */
export const audit: Command = async (invocation) => {
  const [baseName = '', tunedName = ''] = invocation.args;
  const [refusedFile, benignFile] = [
    invocation.requiredText('refused'),
    invocation.requiredText('benign'),
  ] as const;
  const seed = invocation.integer('seed', 0) ?? 0;
  const base = await openNamed(baseName, invocation.home);
  try {
    const tuned = await openNamed(tunedName, invocation.home);
    try {
      checkSameShape(base.model, tuned.model, tunedName);
      const options = {
        tokenizer: base.tokenizer,
        template: invocation.choice('template', ['auto', 'none']) ?? base.template,
        column: invocation.text('column'),
        skip: invocation.integer('skip', 0) ?? 3,
        maxLength: invocation.integer('max-length') ?? 2048,
      };
      const refused = await readPrompts(refusedFile, options);
      const benign = await readPrompts(benignFile, options);
      const compare = (what: string, prompts: typeof refused.prompts) =>
        comparePrompts(base.model, tuned.model, prompts, (done) =>
          invocation.terminal.progress(`${what} prompt ${done + 1} of ${prompts.length}`),
        );
      const [ofRefused, ofBenign] = [
        await compare('refused', refused.prompts),
        await compare('benign', benign.prompts),
      ];
      const changes = weightChanges(base.model, tuned.model);
      const { condensers, bias_LE } = tuned.model.session.routerState();
      const profiles = moeLayerIndices(base.model.plan).map((layer, l) => {
        const profile = (side: 'base' | 'tuned') =>
          profileLayer(ofRefused[side][l] ?? [], ofBenign[side][l] ?? [], (name, count) =>
            uniform(seed, `audit ${layer} ${name}`, count),
          );
        return { layer, base: profile('base'), tuned: profile('tuned') };
      });
      const profiled = profiles.map((profile) => profile.base.experts);
      const peaksOf = ({ model }: OpenedModel) =>
        projectionPeaks(model, profiled, refused.prompts, benign.prompts, invocation);
      const peaks = { base: await peaksOf(base), tuned: await peaksOf(tuned) };
      const layers = profiles.map(({ layer, ...own }, l) => {
        const weightChange_E = changes[l] ?? new Float64Array(0);
        const experts = weightChange_E.length;
        const audited = auditLayer(own.base, own.tuned, {
          layer,
          refusedDrift: ofRefused.drift[l]?.kl ?? 0,
          benignDrift: ofBenign.drift[l]?.kl ?? 0,
          weightChange_E,
          ...(condensers && { condensers: condensers[l] ?? [] }),
          ...(bias_LE && { bias_E: bias_LE.subarray(l * experts, (l + 1) * experts) }),
        });
        return { ...audited, units: auditUnits(peaks.base[l] ?? [], peaks.tuned[l] ?? []) };
      });
      const answers = await auditAnswers(base, tuned, refused.prompts, benign.prompts, invocation);
      const result: RoutingAudit = {
        version: 1,
        createdMs: Date.now(),
        base: baseName,
        tuned: tunedName,
        ...(tuned.step !== undefined && { step: tuned.step }),
        refusedPrompts: refused.prompts.length,
        benignPrompts: benign.prompts.length,
        prompts: { refused: refused.sha256, benign: benign.sha256 },
        seed,
        layers,
        ...(answers && { answers }),
        needsReview: [...layers, ...(answers === null ? [] : [answers])].some(
          ({ flags }) => flags.length > 0,
        ),
        summary: [
          ...auditWords(layers),
          ...unitWords(layers.map(({ units }) => units)),
          ...(answers === null ? [] : answerWords(answers)),
          ...(Math.min(refused.prompts.length, benign.prompts.length) < FEW_PROMPTS
            ? [`Fewer than ${FEW_PROMPTS} prompts of a kind: profiles of so few are weak.`]
            : []),
        ],
      };
      const saved = save(result, tuned, invocation);
      return {
        exitCode: EXIT.done,
        document: { ...result, ...(saved.length > 0 && { files: saved }) },
        text: [...result.summary, layerTable(result), ...saved.map((file) => `saved as ${file}`)].join('\n'),
      };
    } finally {
      tuned.model.close();
    }
  } finally {
    base.model.close();
  }
};

/** Peaks of the units of `experts` (by MoE layer) in one model on both kinds of request, projection by projection. */
async function projectionPeaks(
  model: LoadedModel,
  experts: readonly (readonly number[])[],
  refused: readonly Prompt[],
  benign: readonly Prompt[],
  invocation: Invocation,
): Promise<ProjectionPeaks[][]> {
  const peaksOn = (prompts: readonly Prompt[]) =>
    unitPeaks(model, prompts, experts, (done) =>
      invocation.terminal.progress(`units, prompt ${done + 1} of ${prompts.length}`),
    );
  const [ofRefused, ofBenign] = [await peaksOn(refused), await peaksOn(benign)];
  return ofRefused.map((layer, l) =>
    layer.map((own, at) => ({ refused: own, benign: ofBenign[l]?.[at] ?? own })),
  );
}

/** How often both models refuse, from what they answer; null where no answers are asked for. */
async function auditAnswers(
  base: OpenedModel,
  tuned: OpenedModel,
  refused: readonly Prompt[],
  benign: readonly Prompt[],
  invocation: Invocation,
): Promise<AnswerAudit | null> {
  const maxTokens = invocation.integer('answers', 0) ?? 0;
  if (maxTokens === 0) return null;
  const rateOf = async (model: OpenedModel, prompts: readonly Prompt[]): Promise<Share> => {
    let refusals = 0;
    for (const [done, { ids }] of prompts.entries()) {
      invocation.terminal.progress(`answer ${done + 1} of ${prompts.length}`);
      const [answer] = await answerGreedily(model.model.executor, [ids], maxTokens, endIds(model));
      if (isRefusal(base.tokenizer.decode(answer?.ids ?? [], { skipSpecialTokens: true }))) refusals++;
    }
    return shareOf(refusals, prompts.length);
  };
  const ratesOf = async (prompts: readonly Prompt[]) => ({
    base: await rateOf(base, prompts),
    tuned: await rateOf(tuned, prompts),
  });
  const rates = { refused: await ratesOf(refused), benign: await ratesOf(benign) };
  return { maxTokens, rule: refusalRule, ...rates, flags: answerFlags(rates) };
}

/** Beside a run, where reports find it, and where the user asks for it. */
function save(result: RoutingAudit, tuned: OpenedModel, invocation: Invocation): string[] {
  const out = invocation.text('out');
  if (tuned.runDir !== undefined) writeAudit(tuned.runDir, result);
  if (out !== undefined) writeFileSync(out, `${JSON.stringify(result, null, 2)}\n`);
  return [
    ...(tuned.runDir === undefined ? [] : [runFiles(tuned.runDir).audit]),
    ...(out === undefined ? [] : [path.resolve(out)]),
  ];
}

/** @throws UserError `audit/different-models`. */
function checkSameShape(base: LoadedModel, tuned: LoadedModel, tunedName: string): void {
  const shape = ({ plan }: LoadedModel) =>
    JSON.stringify([
      plan.hiddenSize,
      plan.vocabularySize,
      moeLayerIndices(plan),
      routerShapes(plan).map(({ experts }) => experts),
      plan.layers.map(({ feedForward }) => feedForward.intermediate),
    ]);
  if (moeLayerIndices(base.plan).length > 0 && shape(base) === shape(tuned)) return;
  throw new UserError(
    'audit/different-models',
    moeLayerIndices(base.plan).length === 0
      ? 'the base model has no experts'
      : `${tunedName} has other layers or experts than the base model`,
    'Compare a model with what was trained from it.',
  );
}

function layerTable({ layers }: RoutingAudit): string {
  const optional = (value: number | null) => (value === null ? '–' : number(value, 3));
  return table(
    [
      [
        'layer',
        'profiled',
        'tuned',
        'Jaccard',
        'correlation',
        'retention',
        'drift refused',
        'benign',
        'flags',
      ],
      ...layers.map((row) => [
        String(row.layer),
        String(row.profiledBase),
        String(row.profiledTuned),
        number(row.jaccard, 3),
        number(row.correlation, 3),
        optional(row.retention),
        number(row.refusedDrift, 3),
        number(row.benignDrift, 3),
        row.flags.join(' ') || '–',
      ]),
    ],
    new Set([0, 1, 2, 3, 4, 5, 6, 7]),
  );
}
