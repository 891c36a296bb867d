/** What a model family has to say: one file of data in `worker/families`. */
import type { DecoderPlan } from './decoder-plan.ts';
import type { Parameter } from './parameters.ts';

/** A place on disk: a whole tensor, or a block of one that holds several parameters. */
export interface StoredTensor {
  readonly name: string;
  readonly block?: {
    /** Index along the tensor's first axis; null: it has no such axis. */
    readonly index: number | null;
    /** First row along the next axis. */
    readonly fromRow: number;
    /** Rows are this far apart; absent: 1. */
    readonly step?: number;
    /** The tensor has one axis, and the parameter begins at this element; the fields above then do not count. */
    readonly offset?: number;
    /** The rows of the parameter are the columns of the tensor. */
    readonly transposed?: true;
  };
}

/** A model family. */
export interface Family {
  /** `model_type` in `config.json`. */
  readonly name: string;
  /** Class in `architectures` of `config.json`. */
  readonly architecture: string;
  /**
   * Reads a parsed `config.json`.
   * @throws UserError `config/invalid` or `config/unsupported` naming the field.
   */
  plan(config: unknown): DecoderPlan;
  /** The places a parameter may lie, the published layout first; one weight-name map, used for reading and writing. */
  stored(parameter: Parameter, plan: DecoderPlan): readonly StoredTensor[];
  /** Module path of a MoE layer in the published model, as router bias files name it. */
  moeModule(layer: number): string;
}
