import { expect, test } from 'vitest';
import {
  parametersOf,
  type ExpertConfig,
  type MethodContext,
  type MethodSession,
} from '#worker/model/index.ts';
import { contextOf, passThrough } from './f0.fixture.ts';
import { sampleTokensOf, startMethod } from './index.ts';

const scores = { token: [[0.5, 0.375, 0.125]], gate: [[0.125, 0.5, 0.25]] };

/** The places of what trains: an expert, or the role of another parameter. */
function trained(session: MethodSession, { plan }: MethodContext): string[] {
  const places = parametersOf(plan)
    .filter((parameter) => session.trainable(parameter))
    .map(({ role, expert }) => (expert === null ? role : `expert ${expert}`));
  return [...new Set(places)];
}

function trainedWith(options: Record<string, unknown>, given: Partial<MethodContext> = {}): string[] {
  const context = { ...contextOf(2), expertScores: scores, ...given };
  return trained(startMethod('esft', options, context), context);
}

test('the experts that a sample uses most train, in all their matrices, and nothing else', () => {
  expect(trainedWith({})).toEqual(['expert 0']);
  expect(trainedWith({ share: 0.6 })).toEqual(['expert 0', 'expert 1']);
  expect(trainedWith({ share: 0.6, score: 'gate' })).toEqual(['expert 1', 'expert 2']);
  const context = { ...contextOf(2), expertScores: scores };
  const session = startMethod('esft', {}, context);
  const ofFirst = parametersOf(context.plan).filter((parameter) => session.trainable(parameter));
  expect(ofFirst.map(({ role }) => role)).toEqual(['expertGate', 'expertUp', 'expertDown']);
});

test('what is not an expert trains when asked for, and shared experts only when asked for themselves', () => {
  const places = trainedWith({ nonExpertModules: true });
  expect(places).toEqual(expect.arrayContaining(['embedding', 'router', 'query', 'expert 0', 'head']));
  expect(places).not.toContain('expert 1');

  const context = { ...contextOf(2), expertScores: scores };
  const shared = {
    id: 'layers.0.sharedUp',
    role: 'sharedUp',
    layer: 0,
    expert: null,
    shape: [2, 2],
  } as const;
  const trains = (options: Record<string, unknown>) =>
    startMethod('esft', options, context).trainable(shared);
  expect(trains({ nonExpertModules: true })).toBe(false);
  expect(trains({ sharedExperts: true })).toBe(true);
});

test('routing is that of the checkpoint', async () => {
  const context = { ...contextOf(2), expertScores: scores };
  expect(await passThrough(startMethod('esft', {}, context), context)).toEqual(
    await passThrough(startMethod('full', {}, context), context),
  );
});

const file = (config: Partial<ExpertConfig>) => ({
  readExpertConfig: () => ({ experts: [[2]], sharedExperts: false, nonExpertModules: false, ...config }),
});

test('a file decides in place of scores and options', () => {
  expect(trainedWith({ expertConfig: 'expert_cfg.json', nonExpertModules: true }, file({}))).toEqual([
    'expert 2',
  ]);
  expect(trainedWith({ expertConfig: 'expert_cfg.json' }, file({ nonExpertModules: true }))).toContain(
    'router',
  );
  const asked: unknown[] = [];
  const context = {
    readExpertConfig: (...given: readonly unknown[]) => {
      asked.push(given);
      return file({}).readExpertConfig();
    },
  };
  trainedWith({ expertConfig: 'a' }, context);
  trainedWith({ expertConfig: 'b', layerKeys: 'fromOne' }, context);
  expect(asked).toEqual([
    ['a', 0],
    ['b', 1],
  ]);
});

test('files of other models are refused', () => {
  const start = (config: Partial<ExpertConfig>) => () =>
    trainedWith({ expertConfig: 'expert_cfg.json' }, file(config));
  expect(start({ experts: [[0, 3]] })).toThrow(
    'expert_cfg.json lists expert 3 in MoE layer 0, which has experts 0 to 2',
  );
  expect(start({ experts: [[]] })).toThrow('nothing would train');
});

test('a sample is asked for unless a file is given', () => {
  expect(sampleTokensOf('esft', {})).toBe(8192);
  expect(sampleTokensOf('esft', { sampleTokens: 100 })).toBe(100);
  expect(sampleTokensOf('esft', { expertConfig: 'expert_cfg.json' })).toBe(0);
  expect(sampleTokensOf('full', {})).toBe(0);
});

test('without scores and file it says how to get them, but a saved state is enough', () => {
  const context = contextOf(2);
  const session = startMethod('esft', {}, context);
  expect(() => trained(session, context)).toThrow(expect.objectContaining({ code: 'esft/no-experts' }));
  const saved = startMethod('esft', {}, { ...context, expertScores: scores }).save();
  session.restore(JSON.parse(JSON.stringify(saved)));
  expect(trained(session, context)).toEqual(['expert 0']);
  expect(session.routerState().expertConfig?.experts).toEqual([[0]]);
});

test('after the first step it tells how many experts train', () => {
  const session = startMethod('esft', { share: 0.6 }, { ...contextOf(2), expertScores: scores });
  const at = { step: 0, totalSteps: 2, microBatch: 0, microBatches: 1 };
  expect(session.afterStep(at)).toEqual(['2 of 3 experts train; by layer: 2.']);
  expect(session.afterStep({ ...at, step: 1 })).toEqual([]);
});
