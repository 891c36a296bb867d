/** The training methods. Adding one means adding its file here. */
import { z } from 'zod';
import { UserError } from '#core/contract/errors.ts';
import { explainIssues, nearest } from '#core/contract/explain-issues.ts';
import type { MethodInfo } from '#core/contract/method.ts';
import { TOGETHER, TogetherOptions } from '#core/contract/methods-together.ts';
import {
  additionsOf,
  parametersUnder,
  readsBaseRouting,
  trains,
  withAdditions,
  type DecoderPlan,
  type Method,
  type MethodContext,
  type MethodSession,
  type WarmUp,
} from '#worker/model/index.ts';
import { baseAssignment } from './base-assignment.ts';
import { composedSession } from './composed-session.ts';
import { esft } from './esft.ts';
import { dora } from './dora.ts';
import { defaultMoe } from './default-moe.ts';
import { denseMixer } from './densemixer.ts';
import { dsMoe } from './ds-moe.ts';
import { evoMoe } from './evomoe.ts';
import { expertCondenser } from './expert-condenser.ts';
import { hashRouting } from './hash-routing.ts';
import { frozenRouter } from './frozen-router.ts';
import { full } from './full.ts';
import { localExpert } from './local-expert.ts';
import { lora } from './lora.ts';
import { lossFreeBalancing } from './loss-free-balancing.ts';
import { smt } from './smt.ts';
import { stableMoe } from './stablemoe.ts';
import { transformedGate } from './transformed-gate.ts';

export { allocateCondensers, selectCondensers } from './condenser-selection.ts';
export { moveBias } from './router-bias.ts';
export { selectExperts } from './select-experts.ts';
export { plainSession, usedSession } from './stateless-session.ts';

const methods: readonly Method[] = [
  full,
  frozenRouter,
  lora,
  dora,
  smt,
  esft,
  lossFreeBalancing,
  expertCondenser,
  denseMixer,
  defaultMoe,
  dsMoe,
  evoMoe,
  transformedGate,
  localExpert,
  baseAssignment,
  hashRouting,
  stableMoe,
];

/** Not in lists: what it does is what the methods do that its options name. */
const compose: Method<typeof TogetherOptions> = {
  name: TOGETHER,
  title: 'Methods together',
  trains: 'What all of the methods train, and what any of them adds.',
  cost: 'That of the methods.',
  source: 'The methods it names.',
  options: TogetherOptions,
  sampleTokens: ({ methods: parts }) =>
    Math.max(...parts.map(({ name, options }) => sampleTokensOf(name, options))),
  warmUp: ({ methods: parts }, plan) =>
    parts.map(({ name, options }) => warmUpOf(name, options, plan)).find((warmUp) => warmUp !== null) ?? null,
  start: ({ methods: parts }, context) =>
    composedSession(
      parts.map(({ name, options }) => ({ name, session: startMethod(name, options, context) })),
    ),
};

/**
 * The method called `name`.
 * @throws UserError `method/unknown` naming the nearest one.
 */
function methodNamed(name: string): Method {
  const method = [...methods, compose].find((candidate) => candidate.name === name);
  if (method !== undefined) return method;
  const names = methods.map((candidate) => candidate.name);
  const near = nearest(name, names);
  throw new UserError(
    'method/unknown',
    `method.name: there is no method "${name}"${near === undefined ? '' : ` (did you mean ${near}?)`}`,
    `Known methods: ${names.join(', ')}.`,
  );
}

/** @throws UserError `method/invalid-options` naming each wrong option. */
function parseOptions(name: string, options: Readonly<Record<string, unknown>>) {
  const method = methodNamed(name);
  const parsed = method.options.safeParse(options);
  if (!parsed.success) {
    throw new UserError(
      'method/invalid-options',
      `method.options (${name}): ${explainIssues(parsed.error, method.options)}`,
      'The method’s page lists its options and defaults.',
    );
  }
  return { method, parsed: parsed.data };
}

/** @throws UserError `method/needs-experts` or `method/router` where the model lacks what the method works on. */
function checkNeeds({ name, needs }: Method, { family, layers }: DecoderPlan): void {
  if (needs === undefined) return;
  const routers = layers.flatMap(({ feedForward }) =>
    feedForward.kind === 'moe' ? [feedForward.router] : [],
  );
  if (routers.length === 0) {
    throw new UserError(
      'method/needs-experts',
      `method.name: ${name} is for models with experts; this one (${family}) has none`,
      `Methods for any model: ${methods.flatMap((method) => (method.needs ? [] : [method.name])).join(', ')}.`,
    );
  }
  if (needs === 'scores' && routers.some(({ sparseMixer }) => sparseMixer !== undefined)) {
    throw new UserError(
      'method/router',
      `method ${name} makes gate weights of scores, and this ${family} checkpoint has SparseMixer's`,
      `Methods for such a router: ${methods.flatMap((method) => (method.needs === 'scores' ? [] : [method.name])).join(', ')}.`,
    );
  }
}

/**
 * Validates `options` and starts a session of method `name`.
 * @throws UserError `method/unknown`, `method/invalid-options`, `method/needs-experts`, `method/router`, `method/base-gate` and
 *   those of the method.
 */
export function startMethod(
  name: string,
  options: Readonly<Record<string, unknown>>,
  context: MethodContext,
): MethodSession {
  const { method, parsed } = parseOptions(name, options);
  checkNeeds(method, context.plan);
  const session = method.start(parsed, context);
  if (readsBaseRouting(session) && additionsOf(context.plan).learnedGate !== null) {
    throw new UserError(
      'method/base-gate',
      'method.options.baseKlCoefficient: the model has learned gates, and only routers are kept as they were',
      'Set it to 0.',
    );
  }
  checkMixture(session, context.plan);
  return session;
}

/** @throws UserError `method/output-mixture` where outputs are mixed and something trains that both of them depend on. */
function checkMixture(session: MethodSession, stored: DecoderPlan): void {
  const { localExpert } = additionsOf(withAdditions(stored, session.additions ?? {}));
  if (localExpert?.mixture !== 'output') return;
  const other = parametersUnder(stored, session).find(
    (parameter) => trains(session, parameter) && !parameter.role.startsWith('local'),
  );
  if (other === undefined) return;
  throw new UserError(
    'method/output-mixture',
    `the model mixes its output with that of its base, which must stay as it is; ${other.id} would train`,
    'Train local experts alone (trains: "local"), or use them in the residual form.',
  );
}

/**
 * How many tokens of the training data method `name` wants routed through the untouched model before it starts; 0: none.
 * @throws UserError `method/unknown` or `method/invalid-options`.
 */
export function sampleTokensOf(name: string, options: Readonly<Record<string, unknown>>): number {
  const { method, parsed } = parseOptions(name, options);
  return method.sampleTokens?.(parsed) ?? 0;
}

/**
 * Full fine-tuning that method `name` wants before it starts; null: none.
 * @throws UserError `method/unknown`, `method/invalid-options` and those of the method.
 */
export function warmUpOf(
  name: string,
  options: Readonly<Record<string, unknown>>,
  plan: DecoderPlan,
): WarmUp | null {
  const { method, parsed } = parseOptions(name, options);
  return method.warmUp?.(parsed, plan) ?? null;
}

/** All methods as a form sees them. */
export function describeMethods(): MethodInfo[] {
  return methods.map(({ name, title, trains, cost, source, options }) => ({
    name,
    title,
    trains,
    cost,
    source,
    optionsSchema: z.toJSONSchema(options, { io: 'input' }),
  }));
}
