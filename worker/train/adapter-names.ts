/** Low-rank adapters of files, matched to the weights of a model. */
import { UserError, invariant } from '#core/contract/errors.ts';
import { AdapterFolder, adapterTensorName, type AdapterConfig } from '#worker/checkpoint/index.ts';
import {
  adaptableRoles,
  adapterParameters,
  type AdapterParameter,
  type AdapterSize,
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
    const roles = new Map<string, AdapterSize>();
    for (const weight of parameters) {
      if (!adaptableRoles.has(weight.role) || nameOf(weight, 'loraA') === undefined) continue;
      const module = modulesOf(family, plan, weight).find(
        (name) => folder.nameOf(name, 'loraA') !== undefined,
      );
      const size = folder.sizeOf(module ?? '');
      const known = roles.get(weight.role) ?? size;
      if (known.rank !== size.rank || known.alpha !== size.alpha) {
        throw new UserError(
          'adapter-file/sizes',
          `${dir}: ${module} has rank ${size.rank} and alpha ${size.alpha}, other ${weight.role} weights ${known.rank} and ${known.alpha}`,
          'Rank and alpha may differ from one kind of weight to another, but not between layers or experts.',
        );
      }
      roles.set(weight.role, size);
    }
    const { rankStabilised, magnitude, dropout } = folder.config;
    const adapters: LowRankPlan = { kind: 'low-rank', roles, rankStabilised, magnitude, dropout };
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

/** What `adapter_config.json` says of adapters. */
export function adapterConfig(family: Family, plan: DecoderPlan, adapters: LowRankPlan): AdapterConfig {
  const adapted = modulesWith(family, plan, ({ role }) => adapters.roles.has(role));
  const [size] = adapters.roles.values();
  invariant(size !== undefined, 'some weight has an adapter');
  const pattern = (of: keyof AdapterSize): Record<string, number> => {
    const sizes = [...adapters.roles.values()].map((other) => other[of]);
    const others = new Set(sizes.filter((value) => value !== size[of]));
    const named = [...others].map((value) => {
      const own = modulesWith(family, plan, ({ role }) => adapters.roles.get(role)?.[of] === value);
      return namesAmong(own, adapted).map((name): [string, number] => [name, value]);
    });
    return Object.fromEntries(named.flat());
  };
  const { rankStabilised, magnitude, dropout } = adapters;
  const patterns = { rankPattern: pattern('rank'), alphaPattern: pattern('alpha') };
  return { ...size, ...patterns, rankStabilised, magnitude, dropout };
}

/** What PEFT finds adapted modules by. */
export function targetModules(family: Family, plan: DecoderPlan, adapters: LowRankPlan): string[] {
  return namesAmong(
    modulesWith(family, plan, ({ role }) => adapters.roles.has(role)),
    modulesWith(family, plan, () => true),
  );
}

/** The modules of matrices that `wants` takes. */
function modulesWith(family: Family, plan: DecoderPlan, wants: (weight: Parameter) => boolean): string[] {
  return parametersOf(plan)
    .filter((weight) => weight.shape.length === 2 && wants(weight))
    .flatMap((weight) => modulesOf(family, plan, weight).slice(0, 1));
}

/** What names `some` of the modules `all`: the last parts of their names where those mean no other of them, else whole names. */
function namesAmong(some: readonly string[], all: readonly string[]): string[] {
  const last = (module: string) => module.slice(module.lastIndexOf('.') + 1);
  const own = new Set(some);
  const others = new Set(all.filter((module) => !own.has(module)).map(last));
  const names = new Set(some.map(last));
  return [...names].some((name) => others.has(name)) ? [...some] : [...names].sort();
}
