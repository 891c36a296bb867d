/** The option `--device-weights`. */
import { UserError } from '#core/contract/errors.ts';
import type { DeviceWeights } from '#core/contract/run-spec.ts';
import type { ProviderName } from '#worker/runtime/index.ts';

/** How it is asked for. */
export const deviceWeightsOption = {
  value: 'auto|float32|float16',
  help: 'how weights that do not train lie on a graphics adapter (default: auto)',
};

/** @throws UserError `cli/device-weights` where it says something of a graphics adapter that is not used. */
export function checkDeviceWeights(provider: ProviderName, deviceWeights: DeviceWeights): void {
  if (provider === 'webgpu' || deviceWeights === 'auto') return;
  throw new UserError(
    'cli/device-weights',
    `--device-weights ${deviceWeights} says how weights lie on a graphics adapter, and the CPU computes`,
    'Give --provider webgpu too, or leave out --device-weights.',
  );
}
