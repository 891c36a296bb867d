/** Kernels that round moments of AdamW to 16 or 8 bits at random, and widen them again. */
import { FLOAT8_BLOCK } from './kernels.ts';
import { MAGNITUDE, SIGN, shift, type Kernel, type Lanes, type Wat } from './lanes.ts';

/**
 * 16 random bits: index times the golden ratio, plus the key, modulo 1 (a Weyl sequence). With a random key each is uniform;
 * neighbours are spread as evenly as can be, so that errors of rounding cancel better than independent ones.
 */
const noise = (L: Lanes): Wat =>
  L.i('shr_u', L.i('add', L.i('mul', L.index('at'), L.int(0x9e3779b9)), L.key('at')), shift(16));

/**
 * An 8-bit float has the upper bits of an f32: 3 of its fraction, and of its exponent as many as there is room for beside the
 * sign. Its highest code is 1, so that adding `bias` and moving up by 20 gives the f32.
 */
const FLOAT8_SHIFT = 20;
const float8Bias = (highest: number): number => bitsOfOne - (highest << FLOAT8_SHIFT);
const bitsOfOne = 0x3f800000;
const SIGNED_BIAS = float8Bias(127);
const UNSIGNED_BIAS = float8Bias(255);

/** The code of a magnitude of at most 1, given by its bits under the name `x`: below the least one, 0. */
const float8Code = (L: Lanes, bias: number): readonly Wat[] => [
  L.set(
    'code',
    'i',
    L.i(
      'shr_s',
      L.i('sub', L.i('add', L.get('x'), L.i('shl', noise(L), shift(4))), L.int(bias)),
      shift(FLOAT8_SHIFT),
    ),
  ),
  L.set('code', 'i', L.select(L.int(0), L.get('code'), L.i('lt_s', L.get('code'), L.int(0)))),
];

const float8Bits = (L: Lanes, code: Wat, bias: number): Wat =>
  L.i('add', L.i('shl', code, shift(FLOAT8_SHIFT)), L.int(bias));

/** Over single elements; those of 8 bits for one block with its scale. */
export const MOMENT_KERNELS: readonly Kernel[] = [
  {
    // Random bits below the kept half, and cut: up with the probability of the part that is cut away.
    name: 'f32ToBf16AtRandom',
    pointers: { y: 2, x: 4, at: 1 },
    body: (L) => [L.store16('y', L.i('shr_u', L.i('add', L.loadBits('x'), noise(L)), shift(16)))],
  },
  {
    // Magnitudes of floats are ordered as their bits are.
    name: 'largestBits',
    pointers: { x: 4 },
    body: (L) => [
      L.set('x', 'i', L.i('and', L.loadBits('x'), L.int(MAGNITUDE))),
      L.set('acc', 'i', L.larger(L.get('acc'), L.get('x'))),
    ],
    result: {
      type: 'i32',
      value:
        '(local.set $x_v (i32x4.max_u (local.get $acc_v)' +
        ' (i8x16.shuffle 8 9 10 11 12 13 14 15 0 1 2 3 4 5 6 7 (local.get $acc_v) (local.get $acc_v))))' +
        '(local.set $x_v (i32x4.max_u (local.get $x_v) (i32x4.splat (i32x4.extract_lane 1 (local.get $x_v)))))' +
        '(local.set $x_s (i32x4.extract_lane 0 (local.get $x_v)))' +
        '(select (local.get $acc_s) (local.get $x_s) (i32.gt_u (local.get $acc_s) (local.get $x_s)))',
    },
  },
  {
    name: 'f32ToSigned8',
    pointers: { y: 1, x: 4, at: 1 },
    scalars: ['inverse'],
    body: (L) => [
      L.set('x', 'i', L.bits(L.f('mul', L.load('x'), L.param('inverse')))),
      L.set('sign', 'i', L.i('shr_u', L.i('and', L.get('x'), L.int(SIGN)), shift(24))),
      L.set('x', 'i', L.i('and', L.get('x'), L.int(MAGNITUDE))),
      ...float8Code(L, SIGNED_BIAS),
      L.store8('y', L.i('or', L.get('code'), L.get('sign'))),
    ],
  },
  {
    name: 'f32ToUnsigned8',
    pointers: { y: 1, x: 4, at: 1 },
    scalars: ['inverse'],
    body: (L) => [
      L.set('x', 'i', L.bits(L.f('mul', L.load('x'), L.param('inverse')))),
      ...float8Code(L, UNSIGNED_BIAS),
      L.store8('y', L.get('code')),
    ],
  },
  {
    // A magnitude of 0 is zero, and not the number below the least one.
    name: 'signed8ToF32',
    pointers: { y: 4, x: 1 },
    scalars: ['scale'],
    body: (L) => [
      L.set('code', 'i', L.load8('x')),
      L.set('magnitude', 'i', L.i('and', L.get('code'), L.int(0x7f))),
      L.set(
        'bits',
        'i',
        L.select(
          L.int(0),
          float8Bits(L, L.get('magnitude'), SIGNED_BIAS),
          L.i('eq', L.get('magnitude'), L.int(0)),
        ),
      ),
      L.set('sign', 'i', L.i('shl', L.i('and', L.get('code'), L.int(0x80)), shift(24))),
      L.store('y', L.f('mul', L.fromBits(L.i('or', L.get('bits'), L.get('sign'))), L.param('scale'))),
    ],
  },
  {
    name: 'unsigned8ToF32',
    pointers: { y: 4, x: 1 },
    scalars: ['scale'],
    body: (L) => [
      L.store('y', L.f('mul', L.fromBits(float8Bits(L, L.load8('x'), UNSIGNED_BIAS)), L.param('scale'))),
    ],
  },
];

/** A loop over blocks of 8-bit floats with their scales, `(bytes, scales, floats, at, blocks: i64)`. */
function blockKernel(name: string, body: Wat): Wat {
  const advance = (pointer: string, bytes: number) =>
    `      (local.set $${pointer} (i64.add (local.get $${pointer}) (i64.const ${bytes})))`;
  return [
    `  (func (export "${name}")`,
    '    (param $bytes i64) (param $scale i64) (param $floats i64) (param $at i64) (param $blocks i64)',
    '    (local $scale32 f32)',
    '    (block $done (loop $next',
    '      (br_if $done (i64.eqz (local.get $blocks)))',
    `      ${body}`,
    advance('bytes', FLOAT8_BLOCK),
    advance('scale', 4),
    advance('floats', 4 * FLOAT8_BLOCK),
    advance('at', FLOAT8_BLOCK),
    advance('blocks', -1),
    '      (br $next)))',
    '  )',
  ].join('\n');
}

/**
 * The scale of a block is its largest magnitude, or 0 where that is subnormal and has no inverse. The product with the inverse
 * may come out a little above 1, which is 1 still: codes keep few bits.
 */
const toBlock = (kernel: string): Wat =>
  `(local.set $scale32 (f32.reinterpret_i32 (call $largestBits (local.get $floats) (i64.const ${FLOAT8_BLOCK}))))` +
  '(if (f32.lt (local.get $scale32) (f32.const 0x1p-126)) (then (local.set $scale32 (f32.const 0))))' +
  '(f32.store (local.get $scale) (local.get $scale32))' +
  `(call $${kernel} (local.get $bytes) (local.get $floats) (local.get $at) (i64.const ${FLOAT8_BLOCK})` +
  ' (select (f32.const 0) (f32.div (f32.const 1) (local.get $scale32)) (f32.eq (local.get $scale32) (f32.const 0))))';

const fromBlock = (kernel: string): Wat =>
  `(call $${kernel} (local.get $floats) (local.get $bytes) (i64.const ${FLOAT8_BLOCK}) (f32.load (local.get $scale)))`;

/** The loops over whole arrays of 8-bit floats. */
export const MOMENT_BLOCK_KERNELS: readonly Wat[] = ['Signed8', 'Unsigned8'].flatMap((kind) => [
  blockKernel(`f32To${kind}Blocks`, toBlock(`f32To${kind}`)),
  blockKernel(`${kind.toLowerCase()}BlocksToF32`, fromBlock(`${kind.toLowerCase()}ToF32`)),
]);
