/** Several methods at work on one model: each slot of a session is filled by one of them, or by all where they add up. */
import { z } from 'zod';
import { UserError } from '#core/contract/errors.ts';
import {
  isPlainRouting,
  type AddedParameter,
  type Distillation,
  type LayerUsage,
  type MethodSession,
  type Parameter,
  type RouterShape,
  type RouterState,
  type Routing,
  type RoutingLoss,
  type StepPosition,
} from '#worker/model/index.ts';

/** A session and the method it is of. */
export interface ComposedPart {
  readonly name: string;
  readonly session: MethodSession;
}

const routes = ({ routing }: MethodSession) => !isPlainRouting(routing);
const adapts = ({ adapters }: MethodSession) => (adapters ?? null) !== null;
const distils = ({ distillation }: MethodSession) => (distillation ?? null) !== null;

/** Slots that one method can fill, and whether a session does. */
const exclusive: readonly (readonly [slot: string, fills: (session: MethodSession) => boolean])[] = [
  ['routing', routes],
  ['adapters', adapts],
  ['what MoE layers have besides', ({ additions }) => Object.keys(additions ?? {}).length > 0],
  ['the weights of tokens in the loss', ({ wrongTokenGain }) => (wrongTokenGain ?? 0) > 0],
  ['distillation', distils],
];

/**
 * Joins sessions. A parameter of the checkpoint trains where every method trains it; losses, added parameters and hooks add up.
 * @throws UserError `compose/clash` naming two methods and the slot they both want.
 */
export function composedSession(parts: readonly ComposedPart[]): MethodSession {
  for (const [slot, fills] of exclusive) {
    const [first, second] = parts.filter(({ session }) => fills(session));
    if (first !== undefined && second !== undefined) throw clash(first.name, second.name, slot);
  }
  parts.forEach(({ name, session }, at) => {
    for (const loss of session.losses) {
      const other = parts
        .slice(0, at)
        .find((part) => part.session.losses.some((own) => own.name === loss.name));
      if (other !== undefined) throw clash(other.name, name, `the loss “${loss.name}”`);
    }
  });
  const [reading, other] = [true, undefined].map((reads) =>
    parts.find(({ session }) => session.losses.some(({ readsSoftmax }) => readsSoftmax === reads)),
  );
  if (reading !== undefined && other !== undefined)
    throw clash(reading.name, other.name, 'the scores that auxiliary losses look at');
  return new ComposedSession(parts);
}

function clash(first: string, second: string, slot: string): UserError {
  return new UserError(
    'compose/clash',
    `method.options.methods: ${first} and ${second} both decide ${slot}`,
    'Leave one of them out, or switch it off in its options.',
  );
}

class ComposedSession implements MethodSession {
  readonly #sessions: readonly MethodSession[];
  /** Whose routing it is: all others have that of the checkpoint. */
  readonly #router: MethodSession;
  readonly added: readonly AddedParameter[];
  readonly inferenceRouting?: Routing;

  constructor(parts: readonly ComposedPart[]) {
    this.#sessions = parts.map(({ session }) => session);
    this.#router = this.#owner(routes) ?? (this.#sessions[0] as MethodSession);
    this.added = this.#sessions.flatMap(({ added = [] }) => added);
    const { inferenceRouting } = this.#router;
    if (inferenceRouting !== undefined) this.inferenceRouting = inferenceRouting;
  }

  #owner(fills: (session: MethodSession) => boolean): MethodSession | undefined {
    return this.#sessions.find(fills);
  }

  trainable(parameter: Parameter): boolean {
    return this.#sessions.every((session) => session.trainable(parameter));
  }

  get adapters() {
    return this.#owner(adapts)?.adapters ?? null;
  }

  get additions() {
    return Object.assign({}, ...this.#sessions.map(({ additions }) => additions)) as NonNullable<
      MethodSession['additions']
    >;
  }

  get wrongTokenGain(): number {
    return Math.max(...this.#sessions.map(({ wrongTokenGain = 0 }) => wrongTokenGain));
  }

  get distillation(): Distillation | null {
    return this.#owner(distils)?.distillation ?? null;
  }

  get frozen(): ReadonlySet<string> {
    return new Set(this.#sessions.flatMap(({ frozen }) => [...(frozen ?? [])]));
  }

  get routing() {
    return this.#router.routing;
  }

  visitedExperts(shape: RouterShape, layer: number): number {
    return this.#router.visitedExperts?.(shape, layer) ?? shape.expertsPerToken;
  }

  buffer(name: string, layer: number): Float32Array {
    return this.#router.buffer(name, layer);
  }

  tokenBuffer(name: string, layer: number, tokens: number): Float32Array {
    const buffer = this.#router.tokenBuffer?.(name, layer, tokens);
    if (buffer === undefined) throw new RangeError(`no routing buffer ${name}`);
    return buffer;
  }

  get losses(): readonly RoutingLoss[] {
    return this.#sessions.flatMap(({ losses }) => losses);
  }

  get readsPadding(): boolean {
    return this.#sessions.some(({ readsPadding }) => readsPadding);
  }

  beforeStep(at: Pick<StepPosition, 'step' | 'totalSteps'>): void {
    for (const session of this.#sessions) session.beforeStep?.(at);
  }

  afterMicroBatch(usage: readonly LayerUsage[], at: StepPosition): void {
    for (const session of this.#sessions) session.afterMicroBatch(usage, at);
  }

  rewriteWeights(at: StepPosition, weights: (id: string) => Float32Array): void {
    for (const session of this.#sessions) session.rewriteWeights?.(at, weights);
  }

  afterStep(at: StepPosition): readonly string[] {
    return this.#sessions.flatMap((session) => session.afterStep(at));
  }

  routerState(): RouterState {
    return Object.assign({}, ...this.#sessions.map((session) => session.routerState())) as RouterState;
  }

  save(): unknown[] {
    return this.#sessions.map((session) => session.save());
  }

  restore(saved: unknown): void {
    const states = z.array(z.unknown()).length(this.#sessions.length).parse(saved);
    this.#sessions.forEach((session, at) => session.restore(states[at]));
  }
}
