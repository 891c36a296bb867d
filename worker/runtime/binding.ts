import { createRequire } from 'node:module';
import type { Tensor } from 'onnxruntime-node';

/**
 * ONNX Runtime's native binding, loaded when first needed: loading takes about 0.1 s, which commands that do not compute
 * should not pay.
 *
 * The package's public `InferenceSession.run` defers each run by `setImmediate` and several promises, though the run
 * itself blocks the thread. The binding beneath it is called instead: a small run takes 13 µs rather than 25, and the
 * engine makes thousands of small runs per step. The package version is pinned exactly for that reason.
 */
export interface Binding {
  /** @param model its bytes, or the path of a file. */
  createSession(model: Uint8Array<ArrayBuffer> | string, options: object): NativeSession;
  createTensor(type: string, data: unknown, dims: readonly number[]): Tensor;
}

/** One compiled model in ONNX Runtime. */
export interface NativeSession {
  /** Runs to the end before returning; `null` for an output asks for a new tensor. */
  run(
    feeds: Record<string, Tensor>,
    fetches: Record<string, Tensor | null>,
    options: object,
  ): Record<string, Tensor>;
  /** Writes the profile that the session's options ask for. */
  endProfiling(): void;
  dispose(): void;
}

/** The parts of the package's own modules that are used; `dist/binding.js` is what its public API is built on. */
interface BindingModule {
  readonly binding: {
    readonly InferenceSession: new () => NativeSession & {
      loadModel(path: string, options: object): void;
      loadModel(buffer: ArrayBuffer, byteOffset: number, byteLength: number, options: object): void;
    };
  };
  readonly initOrt: () => void;
}

interface PackageModule {
  readonly env: { logLevel?: string };
  readonly Tensor: new (type: string, data: unknown, dims: readonly number[]) => Tensor;
}

let loaded: Binding | undefined;

/**
 * The binding; the same one each time.
 * @param log what ONNX Runtime writes to the terminal, decided by the first call. Fatal only unless asked for more: every
 *   failed call throws as well.
 */
export function loadBinding(log: 'fatal' | 'info' = 'fatal'): Binding {
  return (loaded ??= load(log));
}

function load(log: string): Binding {
  // The published library sends a record of every session and an identifier of the machine to its makers, unless told not to
  // before it is loaded. What is trained here is nobody's business.
  process.env['ORT_DISABLE_TELEMETRY'] = '1';
  const require = createRequire(import.meta.url);
  const { binding, initOrt } = require('onnxruntime-node/dist/binding.js') as BindingModule;
  const { Tensor, env } = require('onnxruntime-node') as PackageModule;
  env.logLevel = log;
  initOrt();
  return {
    createSession(model, options) {
      const session = new binding.InferenceSession();
      if (typeof model === 'string') session.loadModel(model, options);
      else session.loadModel(model.buffer, model.byteOffset, model.byteLength, options);
      return session;
    },
    createTensor: (type, data, dims) =>
      // Tensors of the package hold a Float16Array where JavaScript has one, and the binding beneath takes the bits only.
      type === 'float16'
        ? ({ type, data, dims, location: 'cpu' } as unknown as Tensor)
        : new Tensor(type, data, dims),
  };
}
