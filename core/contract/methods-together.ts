/** Several methods at work on one model, which a run document names as one method. */
import { z } from 'zod';
import { RunSpec } from './run-spec.ts';

/** What a run document calls several methods at once. */
export const TOGETHER = 'compose';

/** A method as a run document names it, with the options that were given. */
export type NamedMethod = RunSpec['method'];

/** Options of `TOGETHER`. */
export const TogetherOptions = z.strictObject({ methods: z.array(RunSpec.shape.method).min(2) });

/** The methods that `method` stands for: itself, as a rule. */
export function methodsIn(method: NamedMethod): readonly NamedMethod[] {
  if (method.name !== TOGETHER) return [method];
  const parsed = TogetherOptions.safeParse(method.options);
  return parsed.success ? parsed.data.methods.flatMap(methodsIn) : [method];
}

/** Inverse of `methodsIn`: the one method, or all of them under one name. */
export function togetherAs(methods: readonly NamedMethod[]): NamedMethod {
  const [only, ...others] = methods;
  return only !== undefined && others.length === 0 ? only : { name: TOGETHER, options: { methods } };
}

/** What lists, reports and file names call a method: "lora + expert-condenser". */
export function methodLabel(method: NamedMethod): string {
  return methodsIn(method)
    .map(({ name }) => name)
    .join(' + ');
}
