/** What a run computes on: what it asks for, or the faster of processor and graphics adapter. */
import { UserError } from '#core/contract/errors.ts';
import {
  findAdapter,
  type AdapterProbe,
  type AdapterSearch,
  type ProviderName,
} from '#worker/runtime/index.ts';

/** A choice, and the reason for it in a sentence. */
export interface ChosenProvider {
  readonly provider: ProviderName;
  readonly reason: string;
  /** The graphics adapter, in words, where it is one. */
  readonly adapter?: string;
}

/** What a choice is made from. */
export interface ProviderRequest {
  readonly asked: 'auto' | ProviderName;
  /** How to look for an adapter; absent: there is none to be had. */
  readonly probe?: AdapterProbe | undefined;
  /** Takes a step on a provider, the same one on each. */
  readonly rehearse: (provider: ProviderName) => Promise<Rehearsal>;
}

/** A step, after one to warm up. */
export interface Rehearsal {
  readonly seconds: number;
  readonly loss: number;
}

/** Relative difference of losses that rounding does not explain, that of experts to int8 on the CPU included. */
const LOSS_TOLERANCE = 0.05;

/** @throws UserError `runtime/no-adapter` when a GPU is asked for and there is none. */
export async function chooseProvider({ asked, probe, rehearse }: ProviderRequest): Promise<ChosenProvider> {
  if (asked === 'cpu') return { provider: 'cpu', reason: 'Trains on the CPU, as asked.' };
  const search: AdapterSearch =
    probe === undefined
      ? { adapter: null, reason: 'This process cannot look for a graphics adapter.' }
      : await findAdapter(probe);
  const { adapter } = search;
  if (asked === 'webgpu') {
    if (adapter !== null)
      return { provider: 'webgpu', reason: `Trains on ${adapter.name}, as asked.`, adapter: adapter.name };
    throw new UserError(
      'runtime/no-adapter',
      search.reason.replace(/\.$/, ''),
      'Use engine.provider "auto" or "cpu".',
    );
  }
  if (adapter === null) return { provider: 'cpu', reason: `Trains on the CPU. ${search.reason}` };
  if (adapter.kind === 'software') {
    return { provider: 'cpu', reason: `Trains on the CPU: ${adapter.name} would be slower.` };
  }
  const cpu = await rehearse('cpu');
  let gpu: Rehearsal;
  try {
    gpu = await rehearse('webgpu');
  } catch (error) {
    // Whatever a driver does wrong, the CPU can train, and the run says why it does.
    const why = error instanceof Error ? error.message : String(error);
    return { provider: 'cpu', reason: `Trains on the CPU: a step on ${adapter.name} failed. ${why}` };
  }
  if (!(Math.abs(gpu.loss / cpu.loss - 1) < LOSS_TOLERANCE)) {
    const losses = `${gpu.loss.toPrecision(4)} on ${adapter.name} and ${cpu.loss.toPrecision(4)} on the CPU`;
    return { provider: 'cpu', reason: `Trains on the CPU: the loss of a step is ${losses}.` };
  }
  const times = `a step took ${gpu.seconds.toPrecision(2)} s on ${adapter.name} and ${cpu.seconds.toPrecision(2)} s on the CPU`;
  return gpu.seconds < cpu.seconds
    ? { provider: 'webgpu', reason: `Trains on the GPU: ${times}.`, adapter: adapter.name }
    : { provider: 'cpu', reason: `Trains on the CPU: ${times}.` };
}
