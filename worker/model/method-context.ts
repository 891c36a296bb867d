/** What a method may look at when it starts. */
import type { DecoderPlan } from './decoder-plan.ts';
import type { LowRankPlan } from './low-rank.ts';
import type { Parameter } from './parameters.ts';
import type { SubmatrixPlan } from './submatrices.ts';

/** How much the untouched model uses each expert on a sample of the training data, `[MoE layers][experts]`. */
export interface ExpertScores {
  /** Share of the choices; sums to 1 in each layer. */
  readonly token: readonly (readonly number[])[];
  /** Mean over tokens of the softmax value of an expert where it is chosen, before any normalisation; sums to at most 1. */
  readonly gate: readonly (readonly number[])[];
}

/** Which parts of a model expert-specialised fine-tuning trains. */
export interface ExpertConfig {
  /** One list for each MoE layer. */
  readonly experts: readonly (readonly number[])[];
  readonly sharedExperts: boolean;
  /** Everything that is not an expert: attention, routers, norms, embedding, head. */
  readonly nonExpertModules: boolean;
}

/** What noise is drawn for: one layer in one micro-batch, all counted from 0. */
export interface NoisePlace {
  readonly step: number;
  readonly microBatch: number;
  readonly layer: number;
}

/** Adapters of an earlier training. */
export interface GivenAdapters {
  readonly plan: LowRankPlan;
  /** By id of the parameter. */
  readonly values: ReadonlyMap<string, Float32Array>;
}

/** How good each sub-matrix of a weight is, row by row of sub-matrices, by id of the weight. */
export type SubmatrixScores = ReadonlyMap<string, Float32Array>;

/** Full fine-tuning before a run, by whose gradients a method chooses sub-matrices. The weights it moved are given up. */
export interface WarmUp {
  readonly steps: number;
  /** Null: that of the run. */
  readonly learningRate: number | null;
  /** Rows and columns of a sub-matrix. */
  readonly size: number;
  /** What the gradients of a weight, added up over the steps, are scored by; null: none of it can train. */
  readonly scoreOf: (parameter: Parameter) => SubmatrixScore | null;
  /** Chooses by the scores. */
  readonly choose: (scores: SubmatrixScores) => SubmatrixPlan;
}

/** Score of a sub-matrix G of added-up gradients: `|mean G|`, `mean |G|`, or `√Σ G²`. */
export type SubmatrixScore = 'absOfMean' | 'meanOfAbs' | 'l2';

/** What a method may look at when it starts. */
export interface MethodContext {
  readonly plan: DecoderPlan;
  /** Number of MoE layers. */
  readonly moeLayers: number;
  /** Seed of the run, for what a method draws at random. */
  readonly seed: number;
  /** `count` numbers of the standard Gumbel distribution that depend on the seed and the place alone. */
  gumbel(place: NoisePlace, count: number): Float32Array;
  /** Reads a file of router biases (`moe_bias_states.json`): one vector for each MoE layer. */
  readBias(path: string): readonly (readonly number[])[];
  /** Reads a file of condensers (`forced_experts_records.json`): one list for each MoE layer. */
  readCondensers(path: string): readonly (readonly number[])[];
  /**
   * Reads a file of experts to train (`expert_cfg.json`).
   * @param firstLayer what the file calls the first decoder layer.
   */
  readExpertConfig(path: string, firstLayer: 0 | 1): ExpertConfig;
  /** Reads a folder of low-rank adapters in the format of PEFT. */
  readAdapters(path: string): GivenAdapters;
  /** Reads a file of default outputs (`default_outputs.safetensors`): one `[experts × hidden]` matrix for each MoE layer. */
  readDefaultOutputs(path: string): Float32Array[];
  /**
   * Reads a file of tables that route by token (`token_experts.safetensors`): one `[vocabulary × k]` table for each MoE
   * layer, −1 where a token has no expert of its own.
   */
  readTokenExperts(path: string): Int32Array[];
  /** How often each token occurs in the training data, `[vocabulary]`; zeros where there are none at hand. */
  tokenCounts(): Uint32Array;
  /** What `Method.warmUp` chose; null where there was none. */
  readonly submatrices: SubmatrixPlan | null;
  /** What `Method.sampleTokens` asked for; null where nothing was routed. */
  readonly expertScores: ExpertScores | null;
}
