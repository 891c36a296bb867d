/**
 * The part of the JavaScript WebAssembly API used here, typed for 64-bit memories.
 *
 * The compiler's ES libraries leave WebAssembly to the DOM library, which the worker does not load and whose
 * memory descriptor still lacks the `address` field of the Memory64 proposal.
 */

/** A memory addressed by i64. One page is 64 KiB. */
export interface Memory64 {
  readonly buffer: SharedArrayBuffer;
  /** Adds pages and returns the page count before. Throws RangeError when the system has no more memory. */
  grow(pages: bigint): bigint;
}

/** What a kernel module exports: functions over i64 offsets and f32 scalars, by name. */
export type KernelFunctions = Readonly<
  Record<string, (...args: readonly (bigint | number)[]) => number | undefined>
>;

interface WebAssembly64 {
  Memory: new (descriptor: { address: 'i64'; initial: bigint; maximum: bigint; shared: true }) => Memory64;
  Module: new (bytes: Uint8Array) => object;
  Instance: new (
    module: object,
    imports: Record<string, Record<string, Memory64>>,
  ) => { readonly exports: KernelFunctions };
}

/** The runtime's own WebAssembly object under the types above. */
export const WebAssembly = Reflect.get(globalThis, 'WebAssembly') as WebAssembly64;
