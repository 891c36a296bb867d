/** Logistic regression in plain numbers, for gates that are fitted apart from the model. */
import { invariant } from '#core/contract/errors.ts';

/** Rows of features and, for each, whether it belongs to the first class. */
export interface LabelledRows {
  /** `[rows × width]`. */
  readonly features: Float32Array;
  readonly labels: Uint8Array;
  readonly width: number;
}

/** `σ(weights · x + bias)`. */
export interface LogisticModel {
  readonly weights: Float32Array;
  readonly bias: number;
}

/** Penalty on half the squared length of the weights of standardised features: classes that can be told apart have a finite fit. */
const RIDGE = 0.01;
const ITERATIONS = 300;
/** Of AdamW's rule, without decay. */
const [RATE, BETA_1, BETA_2, EPSILON] = [0.05, 0.9, 0.999, 1e-8] as const;

/**
 * Fits the labels by the logistic loss, both classes counting alike however many rows they have. Features are standardised, and
 * the result is for features as they were.
 */
export function fitLogistic({ features, labels, width }: LabelledRows): LogisticModel {
  const rows = labels.length;
  const positive = labels.reduce((sum, label) => sum + label, 0);
  invariant(positive > 0 && positive < rows, 'a logistic fit needs rows of both classes');
  const share = [0.5 / (rows - positive), 0.5 / positive] as const;
  const { mean, scale } = moments(features, width);
  const x = features.map(
    (value, at) => (value - (mean[at % width] as number)) / (scale[at % width] as number),
  );
  const parameters = new Float64Array(width + 1);
  const [first, second] = [new Float64Array(width + 1), new Float64Array(width + 1)];
  for (let step = 1; step <= ITERATIONS; step++) {
    const gradient = parameters.map((value, at) => (at < width ? RIDGE * value : 0));
    for (let row = 0; row < rows; row++) {
      const from = row * width;
      let logit = parameters[width] as number;
      for (let at = 0; at < width; at++) logit += (parameters[at] as number) * (x[from + at] as number);
      const label = labels[row] as 0 | 1;
      const error = share[label] * (1 / (1 + Math.exp(-logit)) - label);
      for (let at = 0; at < width; at++)
        gradient[at] = (gradient[at] as number) + error * (x[from + at] as number);
      gradient[width] = (gradient[width] as number) + error;
    }
    for (let at = 0; at <= width; at++) {
      const g = gradient[at] as number;
      first[at] = BETA_1 * (first[at] as number) + (1 - BETA_1) * g;
      second[at] = BETA_2 * (second[at] as number) + (1 - BETA_2) * g * g;
      const size = Math.sqrt((second[at] as number) / (1 - BETA_2 ** step)) + EPSILON;
      const move = (first[at] as number) / (1 - BETA_1 ** step) / size;
      parameters[at] = (parameters[at] as number) - RATE * (1 - step / ITERATIONS) * move;
    }
  }
  const weights = Float32Array.from(scale, (value, at) => (parameters[at] as number) / value);
  const bias = weights.reduce(
    (sum, weight, at) => sum - weight * (mean[at] as number),
    parameters[width] as number,
  );
  return { weights, bias };
}

/** Mean and standard deviation of each column; 1 where it does not vary. */
function moments(features: Float32Array, width: number) {
  const rows = features.length / width;
  const mean = new Float64Array(width);
  const scale = new Float64Array(width);
  features.forEach((value, at) => (mean[at % width] = (mean[at % width] as number) + value / rows));
  features.forEach((value, at) => {
    const column = at % width;
    scale[column] = (scale[column] as number) + (value - (mean[column] as number)) ** 2 / rows;
  });
  return { mean, scale: scale.map((variance) => (variance > 0 ? Math.sqrt(variance) : 1)) };
}

/** The model's value on each row of features. */
export function logisticScores({ weights, bias }: LogisticModel, features: Float32Array): Float32Array {
  const width = weights.length;
  return Float32Array.from({ length: features.length / width }, (_, row) => {
    let logit = bias;
    for (let at = 0; at < width; at++)
      logit += (weights[at] as number) * (features[row * width + at] as number);
    return 1 / (1 + Math.exp(-logit));
  });
}

/** Area under the receiver operating curve: how often a row of the first class scores above one of the other; ties count half. */
export function areaUnderCurve(scores: Float32Array, labels: Uint8Array): number {
  const order = [...scores.keys()].sort((a, b) => (scores[a] as number) - (scores[b] as number));
  let [above, others, positives] = [0, 0, 0];
  for (let from = 0; from < order.length;) {
    let to = from;
    let tied = 0;
    while (to < order.length && scores[order[to] as number] === scores[order[from] as number])
      tied += labels[order[to++] as number] as number;
    above += tied * (others + (to - from - tied) / 2);
    positives += tied;
    others += to - from - tied;
    from = to;
  }
  return positives === 0 || others === 0 ? NaN : above / (positives * others);
}
