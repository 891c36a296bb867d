/** Names of parameters as golden cases (and published checkpoints) have them. */
import { invariant } from '#core/contract/errors.ts';
import {
  adaptedValues,
  blockLayout,
  isAdapted,
  elementCount,
  parameterId,
  parametersOf,
  placeValues,
  type DecoderPlan,
  type Family,
  type LocalRole,
  type Parameter,
} from '#worker/model/index.ts';
import { adaptersByName, type LoadedModel } from '#worker/train/index.ts';
import type { GoldenTensors } from './golden-case.ts';

/** Published tensor name → the parameters in it. */
export function parametersByPublishedName(family: Family, plan: DecoderPlan): Map<string, Parameter[]> {
  const map = new Map<string, Parameter[]>();
  for (const parameter of parametersOf(plan)) {
    const name = family.stored(parameter, plan)[0]?.name ?? '';
    map.set(name, [...(map.get(name) ?? []), parameter]);
  }
  return map;
}

/** A published tensor of `shape`, put together from the values of its parameters. */
export function publishedTensor(
  family: Family,
  plan: DecoderPlan,
  parameters: readonly Parameter[],
  shape: readonly number[],
  valuesOf: (parameter: Parameter) => Float32Array,
): Float32Array {
  const [first] = parameters;
  invariant(first !== undefined, 'a published tensor holds parameters');
  const blockOf = (parameter: Parameter) => family.stored(parameter, plan)[0]?.block;
  if (blockOf(first) === undefined) return valuesOf(first);
  const tensor = new Float32Array(elementCount(shape)).fill(NaN);
  for (const parameter of parameters) {
    const block = blockOf(parameter);
    const layout = block === undefined ? null : blockLayout(block, parameter.shape, shape);
    invariant(layout !== null, `${parameter.id} fits into its tensor`);
    placeValues(valuesOf(parameter), layout, tensor);
  }
  return tensor;
}

const localRoles: Readonly<Record<string, LocalRole>> = {
  down: 'localDown',
  up: 'localUp',
  'gate.weight': 'localGate',
  'gate.bias': 'localGateBias',
};

/** Golden name of a parameter that a method adds → its id. */
export function addedParameterId(name: string): string | null {
  const gate = /^gate\.(b0|log_tau)\.(\d+)$/.exec(name);
  if (gate !== null)
    return parameterId(gate[1] === 'b0' ? 'gateOffset' : 'gateLogTemperature', Number(gate[2]), null);
  const local = /^local_expert\.(\d+)\.(.+)$/.exec(name);
  const role = localRoles[local?.[2] ?? ''];
  return role === undefined ? null : parameterId(role, Number(local?.[1]), null);
}

/** Gives parameters that the method adds the values a case starts from, which it names `prefix` and golden name. */
export function restoreAdded({ store }: LoadedModel, inputs: GoldenTensors, prefix = ''): void {
  for (const name of inputs.names) {
    const id = name.startsWith(prefix) ? addedParameterId(name.slice(prefix.length)) : null;
    if (id !== null) (store.weight(id).data as Float32Array).set(inputs.floats(name));
  }
}

/** Reads values of a model by their published name; those of low-rank adapters have the name PEFT gives them. */
export function finalValues({
  family,
  plan,
  session: { adapters = null },
  store,
}: LoadedModel): (name: string, shape: readonly number[]) => Float32Array {
  const published = parametersByPublishedName(family, plan);
  const parts =
    adapters?.kind === 'low-rank' ? adaptersByName(family, plan, adapters) : new Map<string, never>();
  const valuesOf = (parameter: Parameter) => {
    const values = store.values(parameter.id);
    return adapters !== null && isAdapted(adapters, parameter)
      ? adaptedValues(adapters, parameter, values, (id) => store.values(id))
      : values;
  };
  return (name, shape) => {
    const part = parts.get(name);
    const id = part?.id ?? addedParameterId(name);
    if (id !== null) return store.values(id);
    return publishedTensor(family, plan, published.get(name) ?? [], shape, valuesOf);
  };
}
