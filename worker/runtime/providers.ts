import { loadBinding } from './binding.ts';

/** An execution provider of ONNX Runtime, and whether training can use it here. */
export interface Provider {
  readonly name: string;
  readonly usable: boolean;
  /** Why it is not usable, in words for the user. */
  readonly reason?: string;
}

/** The execution providers this build knows, the usable ones first. */
export function listProviders(): readonly Provider[] {
  const others = loadBinding()
    .backends()
    .filter(({ name }) => name !== 'cpu')
    .map(({ name, bundled }) => ({
      name,
      usable: false,
      reason: bundled
        ? 'Part of this ONNX Runtime, but training graphs are emitted for the CPU provider only.'
        : 'Not part of this ONNX Runtime package.',
    }));
  return [{ name: 'cpu', usable: true }, ...others];
}
