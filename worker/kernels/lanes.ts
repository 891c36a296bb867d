/** What kernels are written in: operations that exist in two widths, and the loops around a formula of them. */

/** An expression in WebAssembly text. */
export type Wat = string;

/** The operations of one width: `f32x4`/`i32x4` in the vector loop, `f32`/`i32` in the scalar loop. */
export interface Lanes {
  /** Float operation: `add sub mul div sqrt`. */
  f(op: string, ...args: readonly Wat[]): Wat;
  /** Integer or bit operation: `add sub mul shl shr_u shr_s eq gt_u ge_u lt_u lt_s and or xor`; the count of a shift is an `i32`. */
  i(op: string, ...args: readonly Wat[]): Wat;
  /** A scalar parameter of the kernel, in all lanes. */
  param(name: string): Wat;
  int(value: number): Wat;
  float(value: number): Wat;
  /** The element at `pointer` as float, as bits, or as 16 or 8 bits widened with zeros. */
  load(pointer: string): Wat;
  loadBits(pointer: string): Wat;
  load16(pointer: string): Wat;
  load8(pointer: string): Wat;
  store(pointer: string, value: Wat): Wat;
  storeBits(pointer: string, value: Wat): Wat;
  /** Stores integers of 0 to 65535 as 16 bits. */
  store16(pointer: string, value: Wat): Wat;
  /** Stores integers of 0 to 255 as 8 bits. */
  store8(pointer: string, value: Wat): Wat;
  /** The halves of a counter that advances by 1 an element: the index of the element below, a key above. */
  index(counter: string): Wat;
  key(counter: string): Wat;
  /** The larger of two unsigned integers, each without side effects. */
  larger(a: Wat, b: Wat): Wat;
  /** Reinterpretation between floats and their bits. */
  bits(value: Wat): Wat;
  fromBits(value: Wat): Wat;
  /** `a` where the comparison `mask` holds, else `b`. */
  select(a: Wat, b: Wat, mask: Wat): Wat;
  /** Keeps a value under a name: `f` float, `i` bits. Read it with `get`. */
  set(name: string, type: 'f' | 'i', value: Wat): Wat;
  get(name: string): Wat;
  /** Adds the squares of the elements to the 64-bit accumulator `acc`. */
  addSquares(acc: string, value: Wat): Wat;
}

const call = (op: string, args: readonly Wat[]): Wat => `(${[op, ...args].join(' ')})`;
const BITWISE = new Set(['and', 'or', 'xor']);

/** Collects the locals that `set` introduces, by width. */
type Locals = Map<string, string>;

const vectorLanes = (locals: Locals): Lanes => ({
  f: (op, ...args) => call(`f32x4.${op}`, args),
  i: (op, ...args) => call(BITWISE.has(op) ? `v128.${op}` : `i32x4.${op}`, args),
  param: (name) => `(local.get $${name}_v)`,
  int: (value) => `(v128.const i32x4 ${[value, value, value, value].join(' ')})`,
  float: (value) => `(v128.const f32x4 ${[value, value, value, value].join(' ')})`,
  load: (pointer) => `(v128.load (local.get $${pointer}))`,
  loadBits: (pointer) => `(v128.load (local.get $${pointer}))`,
  load16: (pointer) => `(v128.load16x4_u (local.get $${pointer}))`,
  store: (pointer, value) => `(v128.store (local.get $${pointer}) ${value})`,
  storeBits: (pointer, value) => `(v128.store (local.get $${pointer}) ${value})`,
  store16: (pointer, value) =>
    `(local.set $narrow ${value})` +
    `(v128.store64_lane 0 (local.get $${pointer}) (i16x8.narrow_i32x4_u (local.get $narrow) (local.get $narrow)))`,
  load8: (pointer) =>
    `(i32x4.extend_low_i16x8_u (i16x8.extend_low_i8x16_u (v128.load32_zero (local.get $${pointer}))))`,
  store8: (pointer, value) =>
    `(local.set $narrow (i16x8.narrow_i32x4_u ${value} (v128.const i32x4 0 0 0 0)))` +
    `(v128.store32_lane 0 (local.get $${pointer}) (i8x16.narrow_i16x8_u (local.get $narrow) (local.get $narrow)))`,
  index: (counter) =>
    `(i32x4.add (i32x4.splat (i32.wrap_i64 (local.get $${counter}))) (v128.const i32x4 0 1 2 3))`,
  key: (counter) => `(i32x4.splat (i32.wrap_i64 (i64.shr_u (local.get $${counter}) (i64.const 32))))`,
  larger: (a, b) => call('i32x4.max_u', [a, b]),
  bits: (value) => value,
  fromBits: (value) => value,
  select: (a, b, mask) => call('v128.bitselect', [a, b, mask]),
  set: (name, _type, value) => {
    locals.set(`${name}_v`, 'v128');
    return `(local.set $${name}_v ${value})`;
  },
  get: (name) => `(local.get $${name}_v)`,
  addSquares: (acc, value) => {
    locals.set('square', 'v128').set(`${acc}_v`, 'v128');
    const low = '(f64x2.promote_low_f32x4 (local.get $square))';
    const high =
      '(f64x2.promote_low_f32x4 (i8x16.shuffle 8 9 10 11 12 13 14 15 8 9 10 11 12 13 14 15 (local.get $square) (local.get $square)))';
    const sum = `(f64x2.add (f64x2.mul ${low} ${low}) (f64x2.mul ${high} ${high}))`;
    return `(local.set $square ${value})(local.set $${acc}_v (f64x2.add (local.get $${acc}_v) ${sum}))`;
  },
});

const scalarLanes = (locals: Locals): Lanes => ({
  f: (op, ...args) => call(`f32.${op}`, args),
  i: (op, ...args) => call(`i32.${op}`, args),
  param: (name) => `(local.get $${name})`,
  int: (value) => `(i32.const ${value})`,
  float: (value) => `(f32.const ${value})`,
  load: (pointer) => `(f32.load (local.get $${pointer}))`,
  loadBits: (pointer) => `(i32.load (local.get $${pointer}))`,
  load16: (pointer) => `(i32.load16_u (local.get $${pointer}))`,
  store: (pointer, value) => `(f32.store (local.get $${pointer}) ${value})`,
  storeBits: (pointer, value) => `(i32.store (local.get $${pointer}) ${value})`,
  store16: (pointer, value) => `(i32.store16 (local.get $${pointer}) ${value})`,
  load8: (pointer) => `(i32.load8_u (local.get $${pointer}))`,
  store8: (pointer, value) => `(i32.store8 (local.get $${pointer}) ${value})`,
  index: (counter) => `(i32.wrap_i64 (local.get $${counter}))`,
  key: (counter) => `(i32.wrap_i64 (i64.shr_u (local.get $${counter}) (i64.const 32)))`,
  larger: (a, b) => `(select ${a} ${b} (i32.gt_u ${a} ${b}))`,
  bits: (value) => `(i32.reinterpret_f32 ${value})`,
  fromBits: (value) => `(f32.reinterpret_i32 ${value})`,
  select: (a, b, mask) => call('select', [a, b, mask]),
  set: (name, type, value) => {
    locals.set(`${name}_s`, type === 'f' ? 'f32' : 'i32');
    return `(local.set $${name}_s ${value})`;
  },
  get: (name) => `(local.get $${name}_s)`,
  addSquares: (acc, value) => {
    locals.set('tail', 'f64').set(`${acc}_s`, 'f64');
    return (
      `(local.set $tail (f64.promote_f32 ${value}))` +
      `(local.set $${acc}_s (f64.add (local.get $${acc}_s) (f64.mul (local.get $tail) (local.get $tail))))`
    );
  },
});

/** How a kernel walks: its array pointers with their element sizes in bytes (a counter has 1), and its f32 scalars. */
export interface Kernel {
  readonly name: string;
  readonly pointers: Readonly<Record<string, 1 | 2 | 4>>;
  readonly scalars?: readonly string[];
  readonly body: (lanes: Lanes) => readonly Wat[];
  /** For a reduction: the type and the value returned after both loops. */
  readonly result?: { readonly type: 'i32' | 'f64'; readonly value: Wat };
}

/** A function `name(...pointers: i64, n: i64, ...scalars: f32)` with the vector and the scalar loop. */
export function kernel({ name, pointers, scalars = [], body, result }: Kernel): Wat {
  const locals: Locals = new Map([['narrow', 'v128']]);
  for (const scalar of scalars) locals.set(`${scalar}_v`, 'v128');
  const loop = (label: string, count: 1 | 4, lanes: Lanes): readonly Wat[] => [
    `    (block $${label}_done (loop $${label}`,
    `      (br_if $${label}_done (i64.lt_u (local.get $n) (i64.const ${count})))`,
    ...body(lanes).map((line) => `      ${line}`),
    ...Object.entries(pointers).map(
      ([pointer, bytes]) =>
        `      (local.set $${pointer} (i64.add (local.get $${pointer}) (i64.const ${bytes * count})))`,
    ),
    `      (local.set $n (i64.sub (local.get $n) (i64.const ${count})))`,
    `      (br $${label})))`,
  ];
  const loops = [...loop('vector', 4, vectorLanes(locals)), ...loop('scalar', 1, scalarLanes(locals))];
  return [
    `  (func $${name} (export "${name}")`,
    `    ${[...Object.keys(pointers), 'n'].map((p) => `(param $${p} i64)`).join(' ')}`,
    `    ${scalars.map((s) => `(param $${s} f32)`).join(' ')} ${result ? `(result ${result.type})` : ''}`,
    ...[...locals].map(([local, type]) => `    (local $${local} ${type})`),
    ...scalars.map((s) => `    (local.set $${s}_v (f32x4.splat (local.get $${s})))`),
    ...loops,
    ...(result ? [`    ${result.value}`] : []),
    '  )',
  ].join('\n');
}

/** The bit of an f32 that is its sign. */
export const SIGN = 0x80000000;
/** The other bits. */
export const MAGNITUDE = 0x7fffffff;
/** Bits of +infinity in f32: the exponent field, all ones. */
export const INFINITY_BITS = 0x7f800000;
/** The count of a shift. */
export const shift = (count: number): Wat => `(i32.const ${count})`;
