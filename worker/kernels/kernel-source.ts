/**
 * The kernels as WebAssembly text.
 *
 * Every element-wise kernel has a vector loop (4 elements at a time) and a scalar loop for the last 0 to 3. Both come
 * from ONE formula, written over `Lanes`: a vocabulary that spells each operation for one of the two widths. So
 * vector body and tail cannot drift apart, and a result does not depend on where in an array an element lies.
 */
import { INFINITY_BITS, MAGNITUDE, SIGN, kernel, shift, type Kernel, type Wat } from './lanes.ts';
import { MOMENT_KERNELS, MOMENT_BLOCK_KERNELS } from './moment-kernels.ts';

const KERNELS: readonly Kernel[] = [
  {
    // One AdamW step; see `Kernels.adamw` for the formula. `step` is -lr/(1 - beta1^t), `root` sqrt(1 - beta2^t),
    // `decay` 1 - lr*weightDecay, `rate1` 1 - beta1, `rate2` 1 - beta2.
    name: 'adamw',
    pointers: { p: 4, g: 4, m: 4, v: 4 },
    scalars: ['clip', 'decay', 'rate1', 'beta2', 'rate2', 'step', 'root', 'eps'],
    body: (L) => [
      L.set('grad', 'f', L.f('mul', L.load('g'), L.param('clip'))),
      L.set('first', 'f', L.load('m')),
      L.set(
        'first',
        'f',
        L.f('add', L.get('first'), L.f('mul', L.f('sub', L.get('grad'), L.get('first')), L.param('rate1'))),
      ),
      L.set(
        'second',
        'f',
        L.f(
          'add',
          L.f('mul', L.load('v'), L.param('beta2')),
          L.f('mul', L.f('mul', L.param('rate2'), L.get('grad')), L.get('grad')),
        ),
      ),
      L.store('m', L.get('first')),
      L.store('v', L.get('second')),
      L.store(
        'p',
        L.f(
          'add',
          L.f('mul', L.load('p'), L.param('decay')),
          L.f(
            'div',
            L.f('mul', L.param('step'), L.get('first')),
            L.f('add', L.f('div', L.f('sqrt', L.get('second')), L.param('root')), L.param('eps')),
          ),
        ),
      ),
    ],
  },
  {
    name: 'scale',
    pointers: { y: 4 },
    scalars: ['a'],
    body: (L) => [L.store('y', L.f('mul', L.load('y'), L.param('a')))],
  },
  { name: 'fill', pointers: { y: 4 }, scalars: ['a'], body: (L) => [L.store('y', L.param('a'))] },
  {
    name: 'axpy',
    pointers: { y: 4, x: 4 },
    scalars: ['a'],
    body: (L) => [L.store('y', L.f('add', L.load('y'), L.f('mul', L.param('a'), L.load('x'))))],
  },
  {
    name: 'addInto',
    pointers: { y: 4, x: 4 },
    body: (L) => [L.store('y', L.f('add', L.load('y'), L.load('x')))],
  },
  {
    name: 'sumOfSquares',
    pointers: { x: 4 },
    body: (L) => [L.addSquares('acc', L.load('x'))],
    result: {
      type: 'f64',
      value:
        '(f64.add (local.get $acc_s) (f64.add (f64x2.extract_lane 0 (local.get $acc_v)) (f64x2.extract_lane 1 (local.get $acc_v))))',
    },
  },
  {
    // Infinity and NaN are the values whose exponent bits are all ones; `bad` gathers where that was seen.
    name: 'allFinite',
    pointers: { x: 4 },
    body: (L) => [
      L.set(
        'bad',
        'i',
        L.i(
          'or',
          L.get('bad'),
          L.i('eq', L.i('and', L.loadBits('x'), L.int(INFINITY_BITS)), L.int(INFINITY_BITS)),
        ),
      ),
    ],
    result: {
      type: 'i32',
      value: '(i32.eqz (i32.or (v128.any_true (local.get $bad_v)) (local.get $bad_s)))',
    },
  },
  {
    // bf16 is the upper half of an f32.
    name: 'bf16ToF32',
    pointers: { y: 4, x: 2 },
    body: (L) => [L.storeBits('y', L.i('shl', L.load16('x'), shift(16)))],
  },
  {
    // Round to nearest even: add half a unit less one, plus one if the kept part is odd, and cut. A carry into the
    // exponent is right (up to infinity). NaN would round to infinity: it is cut and made quiet instead.
    name: 'f32ToBf16',
    pointers: { y: 2, x: 4 },
    body: (L) => [
      L.set('x', 'i', L.loadBits('x')),
      L.set('upper', 'i', L.i('shr_u', L.get('x'), shift(16))),
      L.set(
        'rounded',
        'i',
        L.i('add', L.i('add', L.get('x'), L.int(0x7fff)), L.i('and', L.get('upper'), L.int(1))),
      ),
      L.store16(
        'y',
        L.select(
          L.i('or', L.get('upper'), L.int(0x40)),
          L.i('shr_u', L.get('rounded'), shift(16)),
          L.i('gt_u', L.i('and', L.get('x'), L.int(MAGNITUDE)), L.int(INFINITY_BITS)),
        ),
      ),
    ],
  },
  {
    // Exponent and fraction of the f16, moved to their places in an f32, read as the value times 2^-112. The product
    // with 2^112 is exact, and normalises subnormals. What was infinity or NaN comes out at 65536 or more: there the
    // exponent is set to all ones.
    name: 'f16ToF32',
    pointers: { y: 4, x: 2 },
    body: (L) => [
      L.set('half', 'i', L.load16('x')),
      L.set(
        'value',
        'i',
        L.bits(
          L.f(
            'mul',
            L.fromBits(L.i('shl', L.i('and', L.get('half'), L.int(0x7fff)), shift(13))),
            L.float(2 ** 112),
          ),
        ),
      ),
      L.storeBits(
        'y',
        L.i(
          'or',
          L.i('shl', L.i('and', L.get('half'), L.int(0x8000)), shift(16)),
          L.select(
            L.i('or', L.get('value'), L.int(INFINITY_BITS)),
            L.get('value'),
            L.i('ge_u', L.get('value'), L.int(0x47800000)),
          ),
        ),
      ),
    ],
  },
  {
    // Three cases by magnitude. From 65536 up: infinity, or a quiet NaN. Below 2^-14 (subnormal in f16): adding 0.5
    // makes the f32 adder round at 2^-24, the f16 subnormal unit, and the low bits are the result. Else: change of
    // exponent bias and round to nearest even at bit 13, as in f32ToBf16; a carry past 65504 gives infinity.
    name: 'f32ToF16',
    pointers: { y: 2, x: 4 },
    body: (L) => [
      L.set('x', 'i', L.loadBits('x')),
      L.set('sign', 'i', L.i('and', L.get('x'), L.int(SIGN))),
      L.set('x', 'i', L.i('xor', L.get('x'), L.get('sign'))),
      L.set(
        'large',
        'i',
        L.select(L.int(0x7e00), L.int(0x7c00), L.i('gt_u', L.get('x'), L.int(INFINITY_BITS))),
      ),
      L.set(
        'small',
        'i',
        L.i('sub', L.bits(L.f('add', L.fromBits(L.get('x')), L.float(0.5))), L.int(0x3f000000)),
      ),
      L.set(
        'normal',
        'i',
        L.i(
          'shr_u',
          L.i(
            'add',
            // 0xc8000fff: exponent bias 15 in place of 127 (subtract 112 << 23), plus 0xfff for rounding.
            L.i('add', L.get('x'), L.int(0xc8000fff)),
            L.i('and', L.i('shr_u', L.get('x'), shift(13)), L.int(1)),
          ),
          shift(13),
        ),
      ),
      L.store16(
        'y',
        L.i(
          'or',
          L.i('shr_u', L.get('sign'), shift(16)),
          L.select(
            L.get('large'),
            L.select(L.get('small'), L.get('normal'), L.i('lt_u', L.get('x'), L.int(0x38800000))),
            L.i('ge_u', L.get('x'), L.int(0x47800000)),
          ),
        ),
      ),
    ],
  },
];

/** What is done with each row named by an id: `$named` is its address in the table, `$row` that of the row in line. */
interface RowKernel {
  readonly name: string;
  readonly body: Wat;
}

const ROW_KERNELS: readonly RowKernel[] = [
  { name: 'addRows', body: '(call $addInto (local.get $named) (local.get $row) (local.get $width))' },
  { name: 'gatherRows', body: '(memory.copy (local.get $row) (local.get $named) (local.get $bytes))' },
];

/** A function `name(table, rows, ids: i64, n: i64, width: i64)` over n rows of `width` f32 and n 32-bit ids. */
function rowKernel({ name, body }: RowKernel): Wat {
  return [
    `  (func (export "${name}")`,
    '    (param $table i64) (param $row i64) (param $id i64) (param $n i64) (param $width i64)',
    '    (local $bytes i64) (local $named i64)',
    '    (local.set $bytes (i64.shl (local.get $width) (i64.const 2)))',
    '    (block $done (loop $next',
    '      (br_if $done (i64.eqz (local.get $n)))',
    '      (local.set $named (i64.add (local.get $table)',
    '        (i64.mul (i64.extend_i32_u (i32.load (local.get $id))) (local.get $bytes))))',
    `      ${body}`,
    '      (local.set $row (i64.add (local.get $row) (local.get $bytes)))',
    '      (local.set $id (i64.add (local.get $id) (i64.const 4)))',
    '      (local.set $n (i64.sub (local.get $n) (i64.const 1)))',
    '      (br $next)))',
    '  )',
  ].join('\n');
}

/** The whole module as WebAssembly text; `build.ts` compiles it. */
export function kernelSource(): string {
  const functions = [
    ...[...KERNELS, ...MOMENT_KERNELS].map(kernel),
    ...ROW_KERNELS.map(rowKernel),
    ...MOMENT_BLOCK_KERNELS,
  ].join('\n');
  return `(module\n  (import "arena" "memory" (memory i64 0 262144 shared))\n${functions}\n)\n`;
}
