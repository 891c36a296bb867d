/** What a form needs to know of a training method. */
import { z } from 'zod';

/** A method as a list or a form shows it. */
export const MethodInfo = z.object({
  name: z.string(),
  title: z.string(),
  /** One line: what it trains. */
  trains: z.string(),
  /** One line: what a step costs relative to full fine-tuning. */
  cost: z.string(),
  /** Where the method comes from. */
  source: z.string(),
  /** JSON Schema (2020-12) of the options, with title, description, default, and `advanced` and `unit` where they apply. */
  optionsSchema: z.record(z.string(), z.unknown()),
});
export type MethodInfo = z.infer<typeof MethodInfo>;

/** Measured ÷ estimated − 1 over finished runs: 0.1 is 10 % more than estimated. */
export const EstimateError = z.object({
  runs: z.int().positive(),
  median: z.number(),
  lowest: z.number(),
  highest: z.number(),
});
export type EstimateError = z.infer<typeof EstimateError>;

/** "Past estimates were off by +12 % (median of 5 runs; −3 % to +40 %)": more than estimated is +. */
export function describeEstimateError({ runs, median, lowest, highest }: EstimateError): string {
  const signed = (share: number) => {
    const percent = Math.round(share * 100);
    return `${percent > 0 ? '+' : percent < 0 ? '−' : '±'}${Math.abs(percent).toLocaleString('en-US')} %`;
  };
  if (runs === 1) return `Past estimates were off by ${signed(median)} (1 run)`;
  return `Past estimates were off by ${signed(median)} (median of ${runs} runs; ${signed(lowest)} to ${signed(highest)})`;
}

/** What a run will need, before it starts. Estimates are ranges; what cannot be estimated is absent. */
export const RunPlan = z.object({
  ok: z.boolean(),
  /** What is missing or incompatible, in sentences; empty when `ok`. */
  problems: z.array(z.string()),
  /** The one of them that says what is wrong with the method or its options, as where two methods want the same. */
  methodProblem: z.string().optional(),
  steps: z.int().optional(),
  trainableParameters: z.number(),
  totalParameters: z.number(),
  memoryMB: z.object({
    low: z.number(),
    high: z.number(),
    /** Weights, gradients, moments, activations, runtime. */
    parts: z.record(z.string(), z.number()),
    availableMB: z.number(),
    /** So many layers are computed twice to stay within the budget; 0: none. */
    recomputedLayers: z.int(),
    /** The frozen experts of so many layers are read from disk whenever they are used; 0: none. */
    streamedLayers: z.int(),
  }),
  /** Memory of the graphics adapter, for a run that asks for it. */
  deviceMB: z
    .object({
      total: z.number(),
      parts: z.record(z.string(), z.number()),
      /** What is kept in host memory to stay within the budget, in sentences. */
      measures: z.array(z.string()),
    })
    .optional(),
  diskMB: z.object({ perCheckpoint: z.number(), total: z.number(), freeMB: z.number() }),
  /** Of a run on the CPU; nothing is known of a graphics adapter before it is tried. */
  timeSeconds: z.object({ low: z.number(), high: z.number(), basis: z.string() }).optional(),
  /** How far the estimates of finished runs on this machine were off; absent where none has finished. */
  pastErrors: z.object({ memory: EstimateError.optional(), time: EstimateError.optional() }).optional(),
});
export type RunPlan = z.infer<typeof RunPlan>;

/** Experts that would train, and what that takes. */
const ChosenExperts = z.object({
  /** Of each MoE layer, the most used first. */
  experts: z.array(z.array(z.int())),
  trainableParameters: z.number(),
  /** What the trained weights take in an export, in the type the checkpoint has them in. */
  storedBytes: z.number(),
});

/** What a method that chooses experts by the data would choose, measured before a run. */
export const ExpertPreview = ChosenExperts.extend({
  /** Decoder layer of each MoE layer. */
  layers: z.array(z.int()),
  /** Score of each expert of each MoE layer, by which it is chosen. */
  scores: z.array(z.array(z.number())),
  /** The same for other shares of the routing. */
  shares: z.array(ChosenExperts.extend({ share: z.number() })),
});
export type ExpertPreview = z.infer<typeof ExpertPreview>;
