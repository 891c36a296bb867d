/** Where each parameter of a model is while it is in memory. */
import { UserError } from '#core/contract/errors.ts';
import { STORED_DTYPES, isFloatDtype, type ModelFolder } from '#worker/checkpoint/index.ts';
import type { Arena } from '#worker/kernels/index.ts';
import { isContiguous, type DecoderPlan, type Parameter, type StoredDtype } from '#worker/model/index.ts';
import type { Located } from './locate-parameter.ts';

/** The least that frozen matrices leave of the arena, in bytes. */
const ARENA_RESERVE = 4 * 2 ** 30;
/** How many times what was planned activations may take. */
const MARGIN = 1.25;

/** What decides where parameters are. */
export interface HomeRules {
  readonly plan: DecoderPlan;
  readonly isTrained: (parameter: Parameter) => boolean;
  /** Which frozen weights stay on disk and are read whenever they are used; absent: none. */
  readonly isStreamed?: (parameter: Parameter) => boolean;
  /** Keeps an embedding that does not train in memory too: another may then be put in its place. */
  readonly holdsEmbedding?: boolean;
  /** Which frozen matrices that are in memory are rounded to int8 rows; absent: none. For programs on the CPU only. */
  readonly isRounded?: (parameter: Parameter) => boolean;
}

/** The type a weight is held in that does not train. @throws UserError `checkpoint/unsupported-dtype`. */
export function heldDtype(folder: ModelFolder, { entry }: Located): StoredDtype {
  if (isFloatDtype(entry.dtype)) return STORED_DTYPES[entry.dtype];
  throw new UserError(
    'checkpoint/unsupported-dtype',
    `${folder.dir}: tensor ${entry.name} is ${entry.dtype}; weights must be F32, BF16 or F16`,
    'Convert the checkpoint to bfloat16 or float32 first.',
  );
}

/** Where a parameter is while the model is in memory. */
export type Home = 'trained' | 'memory' | 'int8 rows' | 'disk';

/** Where `parameter` is to be. @param place undefined: the checkpoint does not have it. */
export function homeOf(rules: HomeRules, parameter: Parameter, place: Located | undefined): Home {
  const { isTrained, isStreamed, isRounded, holdsEmbedding = false, plan } = rules;
  if (isTrained(parameter)) return 'trained';
  if (place !== undefined && !holdsEmbedding && isLookedUp(parameter, plan, place)) return 'disk';
  if (isStreamed?.(parameter) === true) return 'disk';
  return isRounded?.(parameter) === true ? 'int8 rows' : 'memory';
}

/**
 * Which of the weights that stay in memory lie where kernels see them: embedding and head, whose rows they look up and widen, and
 * bfloat16 matrices of layers for programs on the CPU, if the arena has room for them all and for activations.
 * @param activationBytes what these are planned to take there.
 */
export function arenaPlaces(
  parameters: readonly Parameter[],
  stored: ReadonlyMap<string, Located>,
  arena: Arena,
  activationBytes: number,
  onDevice: boolean,
): ReadonlySet<string> {
  const bytesOf = ({ id }: Parameter) => stored.get(id)?.bytes ?? 0;
  const ends = parameters.filter(({ role }) => role === 'embedding' || role === 'head');
  const matrices = parameters.filter(
    (parameter) => !onDevice && isLayerMatrix(parameter) && stored.get(parameter.id)?.entry.dtype === 'BF16',
  );
  const wanted = [...ends, ...matrices].reduce((sum, parameter) => sum + bytesOf(parameter), 0);
  const reserve = Math.max(ARENA_RESERVE, MARGIN * activationBytes);
  const fits = arena.bytesUsed + wanted + reserve <= arena.maximumBytes;
  return new Set([...ends, ...(fits ? matrices : [])].map(({ id }) => id));
}

/** A matrix that a stage of a layer multiplies with. */
export function isLayerMatrix({ layer, shape }: Parameter): boolean {
  return layer !== null && shape.length === 2;
}

/** An embedding that is only looked up, a few rows at a time. */
function isLookedUp({ role }: Parameter, { tiedHead }: DecoderPlan, { layout }: Located): boolean {
  return role === 'embedding' && !tiedHead && (layout === null || isContiguous(layout));
}
