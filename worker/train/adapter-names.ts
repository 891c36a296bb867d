/** Low-rank adapters of files, matched to the weights of a model. */
import { UserError } from '#core/contract/errors.ts';
import { AdapterFolder, adapterTensorName } from '#worker/checkpoint/index.ts';
import {
  adaptableRoles,
  adapterParameters,
  type AdapterParameter,
  type LowRankPart,
  type LowRankPlan,
  parametersOf,
  type DecoderPlan,
  type Family,
  type GivenAdapters,
  type Parameter,
} from '#worker/model/index.ts';

/** Modules that hold a weight, as published models name them; none where the weight shares its tensor with others. */
function modulesOf(family: Family, plan: DecoderPlan, weight: Parameter): string[] {
  return family
    .stored(weight, plan)
    .flatMap(({ name, block }) =>
      block === undefined && name.endsWith('.weight') ? [name.slice(0, -'.weight'.length)] : [],
    );
}

/**
 * The parts of the adapters of a model, by the names PEFT gives their tensors.
 * @throws UserError `adapter-file/no-module` where the published model has no module for an adapted weight.
 */
export function adaptersByName(
  family: Family,
  plan: DecoderPlan,
  adapters: LowRankPlan,
): Map<string, AdapterParameter> {
  return new Map(
    adapterParameters(parametersOf(plan), adapters).map((parameter) => {
      const [module] = modulesOf(family, plan, parameter.weight);
      if (module === undefined) {
        throw new UserError(
          'adapter-file/no-module',
          `${plan.family} models hold ${parameter.weight.role} in a tensor of several weights, for which PEFT has no adapter of this kind`,
          'Export the merged model instead: --format hf.',
        );
      }
      return [adapterTensorName(module, parameter.part), parameter];
    }),
  );
}

/**
 * Reads a folder of adapters for a model.
 * @throws UserError `adapter-file/…` when it cannot be read, or does not fit the model.
 */
export function readAdapters(dir: string, family: Family, plan: DecoderPlan): GivenAdapters {
  const folder = new AdapterFolder(dir);
  try {
    const parameters = parametersOf(plan);
    const nameOf = (weight: Parameter, part: LowRankPart) =>
      modulesOf(family, plan, weight)
        .map((module) => folder.nameOf(module, part))
        .find((name) => name !== undefined);
    const roles = new Set<string>(
      parameters
        .filter((weight) => adaptableRoles.has(weight.role) && nameOf(weight, 'loraA') !== undefined)
        .map(({ role }) => role),
    );
    const adapters: LowRankPlan = { kind: 'low-rank', roles, ...folder.config };
    const left = new Set(folder.names);
    const values = new Map(
      adapterParameters(parameters, adapters).map(({ id, part, weight, shape }) => {
        const name = nameOf(weight, part);
        if (name === undefined) {
          throw new UserError(
            'adapter-file/missing',
            `${dir} has adapters for other weights like ${weight.id}, but no ${part} for it`,
            'Adapters must be there for all layers and experts, or for none.',
          );
        }
        left.delete(name);
        return [id, folder.read(name, shape)] as const;
      }),
    );
    const [unknown] = left;
    if (unknown !== undefined) {
      throw new UserError(
        'adapter-file/unknown-tensor',
        `${dir}: tensor ${unknown} belongs to no weight of this model that can have an adapter`,
        'The adapter belongs to another model.',
      );
    }
    return { plan: adapters, values };
  } finally {
    folder.close();
  }
}

/**
 * What PEFT matches modules with: the last parts of their names where those mean no other module of the model, else whole
 * names.
 */
export function targetModules(family: Family, plan: DecoderPlan, adapters: LowRankPlan): string[] {
  const modules = (adapted: boolean) =>
    parametersOf(plan)
      .filter(({ role, shape }) => shape.length === 2 && adapters.roles.has(role) === adapted)
      .flatMap((weight) => modulesOf(family, plan, weight).slice(0, 1));
  const last = (module: string) => module.slice(module.lastIndexOf('.') + 1);
  const wanted = modules(true);
  const others = new Set(modules(false).map(last));
  const names = new Set(wanted.map(last));
  return [...names].some((name) => others.has(name)) ? wanted : [...names].sort();
}
