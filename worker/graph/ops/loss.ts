import { invariant } from '#core/contract/errors.ts';
import { apply, onProviders } from '../op-def.ts';
import type { Emitter, OpDef, Value } from '../op-def.ts';
import { formatType, sameShape } from '../types.ts';
import { mul, sub } from './arithmetic.ts';
import { gatherElements, scatterElements } from './indexing.ts';
import { dimAt, requireFloat, takeInputs } from './infer.ts';
import { logSumExpBySoftmax, softmax } from './reduce.ts';
import { unsqueeze } from './shape.ts';

/** The loss of next-token prediction. */

/** The logit of each row's label. */
function labelled(emitter: Emitter, logits: string, labels: string): string {
  const axis = emitter.int64s([1]);
  const index = emitter.node('Unsqueeze', [labels, axis]);
  const picked = emitter.node('GatherElements', [logits, index], { attrs: { axis: 1 } });
  return emitter.node('Squeeze', [picked, axis]);
}

const crossEntropyRowsOp: OpDef = {
  name: 'crossEntropyRows',
  infer(inputs) {
    const [logits, labels] = takeInputs(inputs, 2);
    requireFloat(logits);
    invariant(logits.shape.length === 2, `needs logits_NV, got ${formatType(logits)}`);
    invariant(
      labels.dtype === 'int64' && sameShape(labels.shape, [dimAt(logits, 0)]),
      `needs one int64 label per row of ${formatType(logits)}, got ${formatType(labels)}`,
    );
    return [{ dtype: logits.dtype, shape: labels.shape }];
  },
  // d nll / d logits = softmax - onehot(label); one element per row is replaced, so nothing is added up by index.
  vjp: ({ inputs: [logits, labels], grads: [dy] }) => {
    if (!logits || !labels || !dy) return [];
    const index = unsqueeze(labels, { axes: [1] });
    const scale = unsqueeze(dy, { axes: [1] });
    const spread = mul(softmax(logits), scale);
    const atLabel = sub(gatherElements(spread, index, { axis: 1 }), scale);
    return [scatterElements(spread, index, atLabel, { axis: 1 })];
  },
  // The SoftmaxCrossEntropyLoss op is expanded into about 20 nodes with two transposes.
  lower: onProviders(
    ({ emitter, inputs: [logits = '', labels = ''] }) =>
      emitter.node('Sub', [logSumExpBySoftmax(emitter, logits), labelled(emitter, logits, labels)]),
    ({ emitter, inputs: [logits = '', labels = ''] }) => {
      const total = emitter.node('ReduceLogSumExp', [logits, emitter.int64s([1])], {
        attrs: { keepdims: 0 },
      });
      return emitter.node('Sub', [total, labelled(emitter, logits, labels)]);
    },
  ),
};

/**
 * The negative log-likelihood of each row: `nll_N = ln sum_v e^logits_NV - logits_N,label`. Labels must be valid indices
 * into V: rows without a label are left out, or their cotangent set to 0, by the caller.
 */
export function crossEntropyRows(logits: Value, labels: Value): Value {
  return apply(crossEntropyRowsOp, [logits, labels], {});
}

/** The op definitions of this file, for the op table. */
export const lossOps = { crossEntropyRowsOp };
