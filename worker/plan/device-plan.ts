/** What of a run lies in the memory of a graphics adapter, from sizes alone. */
import { UserError, invariant } from '#core/contract/errors.ts';
import type { RunSpec } from '#core/contract/run-spec.ts';
import { EXPERTS_AT_ONCE, type DevicePlace } from '#worker/engine/index.ts';
import { elementCount, isAdded, type Parameter } from '#worker/model/index.ts';
import { largestStageElements } from './activation-sizes.ts';
import type { ModelLayout } from './step-cost.ts';

/** How a run fits on a graphics adapter. Megabytes are 10⁶ bytes. */
export interface DevicePlan {
  /** Most of its memory at one time. */
  readonly totalMB: number;
  readonly parts: Readonly<Record<string, number>>;
  /** Frozen experts of so many of the first layers are copied there when their layer is at work, and given up after. */
  readonly streamedExpertLayers: number;
  /** Moments stay in host memory, where the optimizer moves the weights. */
  readonly momentsOnHost: boolean;
  /** Frozen weights take half their bytes there. */
  readonly inFloat16: boolean;
  /** Of so many of the first layers nothing stays there: what trains is copied there too, and its gradients come back. */
  readonly streamedLayers: number;
}

/** A choice between `DevicePlan`s. */
type Offload = Pick<DevicePlan, 'streamedExpertLayers' | 'momentsOnHost' | 'streamedLayers'>;

/** Nothing but what can only lie in host memory does. */
export const RESIDENT: Offload = { streamedExpertLayers: 0, momentsOnHost: false, streamedLayers: 0 };

/** Bytes of a weight there, but for frozen ones in float16; as much again for its gradient and for each moment. */
const BYTES = 4;
const HALF_BYTES = 2;
/** Copies of the largest parameter while the optimizer moves it. */
const OPTIMIZER_COPIES = 4;

/** Where a parameter lies under a plan. */
export function placeUnder(
  { streamedExpertLayers, momentsOnHost, streamedLayers }: Offload,
  { id, role, layer, expert }: Parameter,
  trains: boolean,
): DevicePlace {
  // The host looks rows of embeddings up, and reads and moves the gate of mixed outputs.
  const onlyOnHost =
    (id === 'embedding' && trains) ||
    role === 'tokenEmbedding' ||
    (role.startsWith('localGate') && layer === null);
  const isStreamed =
    layer !== null &&
    (layer < streamedLayers || (!trains && expert !== null && layer < streamedExpertLayers));
  if (onlyOnHost || isStreamed) return 'host';
  return trains && momentsOnHost ? 'moments-on-host' : 'device';
}

/** Which weights lie there in float16, as far as sizes tell: a checkpoint of fewer than four bytes an element has 16 bits throughout. */
function halvesOf({ parameters, isHalf, storedBytes }: ModelLayout): (parameter: Parameter) => boolean {
  if (isHalf === undefined) return () => false;
  const elements = parameters.reduce((sum, each) => sum + (isAdded(each) ? 0 : elementCount(each.shape)), 0);
  const stored = storedBytes < BYTES * elements ? 'bfloat16' : 'float32';
  return (parameter) => isHalf(parameter, stored);
}

/** Bytes of what the largest program widens: the head, the experts that share one, or what is beside the experts of a layer. */
function widenedBytes({ parameters }: ModelLayout, isHalf: (parameter: Parameter) => boolean): number {
  const programs = new Map<string, number>();
  for (const parameter of parameters) {
    if (!isHalf(parameter)) continue;
    const { layer, expert, shape } = parameter;
    const place = expert === null ? '' : Math.floor(expert / EXPERTS_AT_ONCE);
    const program = `${layer} ${place}`;
    programs.set(program, (programs.get(program) ?? 0) + BYTES * elementCount(shape));
  }
  return Math.max(0, ...programs.values());
}

/** Bytes on the adapter by part. */
function partsUnder(
  offload: Offload,
  layout: ModelLayout,
  isHalf: (parameter: Parameter) => boolean,
  stageBytes: number,
) {
  const { plan, parameters, isTrained } = layout;
  const bytes = { 'frozen weights': 0, 'trained weights': 0, gradients: 0, 'optimizer moments': 0 };
  const passing = new Map<number | null, number>();
  let largest = 0;
  for (const parameter of parameters) {
    // Only a head that is tied to it reads the embedding there, and nothing does those of token routers.
    if (parameter.role === 'tokenEmbedding' || (parameter.id === 'embedding' && !plan.tiedHead)) continue;
    const trains = isTrained(parameter);
    const place = placeUnder(offload, parameter, trains);
    const own = (isHalf(parameter) ? HALF_BYTES : BYTES) * elementCount(parameter.shape);
    if (place === 'host') {
      const { layer } = parameter;
      passing.set(layer, (passing.get(layer) ?? 0) + (trains ? 2 * own : own));
      continue;
    }
    bytes[trains ? 'trained weights' : 'frozen weights'] += own;
    if (!trains) continue;
    bytes.gradients += own;
    if (place !== 'device') continue;
    bytes['optimizer moments'] += 2 * own;
    largest = Math.max(largest, own);
  }
  return {
    ...bytes,
    'weights passing through': Math.max(0, ...passing.values()),
    'work space': Math.max(stageBytes, OPTIMIZER_COPIES * largest),
  };
}

/** From the least that is moved off the adapter to the most; what gives the same results to the bit comes first. */
function* offloads(
  layers: number,
  fewest: number,
  expertLayers: number,
  narrowMoments: boolean,
): Generator<Offload> {
  for (const momentsOnHost of narrowMoments ? [true] : [false, true]) {
    for (let streamed = fewest; streamed <= expertLayers; streamed++)
      yield { ...RESIDENT, momentsOnHost, streamedExpertLayers: streamed };
  }
  for (let streamed = 1; streamed <= layers; streamed++)
    yield { momentsOnHost: true, streamedExpertLayers: expertLayers, streamedLayers: streamed };
}

/**
 * Plans a run within `budgetMB` of the adapter's memory; null: it has enough. Where nothing fits, everything that can is left in
 * host memory, and `totalMB` says what is needed.
 * @param diskLayers so many of the first layers have frozen experts that are read from disk whenever they are used.
 */
export function planDevice(
  layout: ModelLayout,
  spec: RunSpec,
  budgetMB: number | null,
  diskLayers: number,
): DevicePlan {
  const isHalf = halvesOf(layout);
  const stageBytes = BYTES * largestStageElements(layout, spec) + widenedBytes(layout, isHalf);
  const { layers } = layout.plan;
  const expertLayers = layout.parameters.reduce(
    (last, parameter) =>
      parameter.expert === null || layout.isTrained(parameter)
        ? last
        : Math.max(last, (parameter.layer ?? -1) + 1),
    diskLayers,
  );
  const narrow = spec.train.optimizer.moments !== 'float32';
  const inFloat16 = layout.parameters.some(isHalf);
  let planned: DevicePlan | undefined;
  for (const offload of offloads(layers.length, diskLayers, expertLayers, narrow)) {
    const bytes = partsUnder(offload, layout, isHalf, stageBytes);
    const parts = Object.fromEntries(Object.entries(bytes).map(([part, size]) => [part, size / 1e6]));
    const totalMB = Object.values(parts).reduce((sum, part) => sum + part, 0);
    // More layers in passing may need more: all of their weights are there while one is at work.
    if (planned === undefined || totalMB < planned.totalMB)
      planned = { totalMB, parts, inFloat16, ...offload };
    if (budgetMB === null || totalMB <= budgetMB) return { totalMB, parts, inFloat16, ...offload };
  }
  invariant(planned !== undefined, 'there is always a plan');
  return planned;
}

/** What is wrong with a plan; null: it fits. */
export function deviceProblem({ totalMB }: DevicePlan, budgetMB: number | null): string | null {
  if (budgetMB === null || totalMB <= budgetMB) return null;
  const number = (value: number) => Math.ceil(value).toLocaleString('en-US');
  return `At least ${number(totalMB)} MB of the graphics adapter's memory are needed, engine.deviceMemoryMB allows ${number(budgetMB)}`;
}

/** What to do about a `deviceProblem`. */
export const DEVICE_HINT =
  'Use a smaller micro-batch or shorter examples, a larger engine.deviceMemoryMB, or engine.provider "cpu".';

/** @throws UserError `train/device-memory` when the plan does not fit. */
export function checkDevice(plan: DevicePlan, budgetMB: number | null): DevicePlan {
  const problem = deviceProblem(plan, budgetMB);
  if (problem === null) return plan;
  throw new UserError('train/device-memory', problem, DEVICE_HINT);
}

/** What a plan does to stay within the adapter's memory, in sentences. */
export function deviceMeasures(
  { streamedExpertLayers, momentsOnHost, streamedLayers, inFloat16 }: DevicePlan,
  layers: number,
): string[] {
  const of = (some: number) => `${some} of ${layers} layers`;
  return [
    ...(inFloat16
      ? ['Frozen weights lie on the graphics adapter in float16, half the size of float32.']
      : []),
    ...(streamedExpertLayers > streamedLayers
      ? [
          `Frozen experts of ${of(streamedExpertLayers)} are copied to the graphics adapter when they are used: slower, with the same results.`,
        ]
      : []),
    ...(momentsOnHost ? ['Optimizer moments stay in host memory, and the processor moves the weights.'] : []),
    ...(streamedLayers > 0
      ? [
          `All weights of ${of(streamedLayers)} are copied to the graphics adapter when they are used, and their gradients come back.`,
        ]
      : []),
  ];
}
