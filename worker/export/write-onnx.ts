/** A trained model as an ONNX file, compared with what the engine computes. */
import { invariant } from '#core/contract/errors.ts';
import {
  STORED_DTYPES,
  encodeFinite,
  isFloatDtype,
  tensorBytes,
  writeOnnxFolder,
  type FileDigest,
  type FloatDtype,
  type FolderOptions,
  type OnnxTensor,
} from '#worker/checkpoint/index.ts';
import type { MicroBatch } from '#worker/engine/index.ts';
import {
  decoderGraph,
  isAddition,
  moeLayerIndices,
  type DecoderGraph,
  type MethodSession,
  type Parameter,
} from '#worker/model/index.ts';
import { openModelFile } from '#worker/runtime/index.ts';
import { compareLogits, type LogitComparison } from './compare-logits.ts';
import { probeBatch, usedLogits } from './used-logits.ts';
import { placeOf, type ChangedModel } from './write-model.ts';

/** What was written, and how far its logits are from those of the engine. */
export interface OnnxExport {
  readonly files: readonly FileDigest[];
  readonly tensors: number;
  readonly logits: LogitComparison;
}

/**
 * Writes the folder `out` with the model as it is used after training, and runs it.
 * @param session its method: see `usedSession`.
 * @param dtype of matrices, which a graph widens before it computes; vectors are float32. `source`: as the checkpoint has each.
 * @throws UserError `export/onnx-unsupported`, `export/not-verified`, `export/non-finite` and those of the folder.
 */
export async function writeOnnx(
  model: ChangedModel,
  session: MethodSession,
  out: string,
  dtype: FloatDtype | 'source',
  onProgress?: FolderOptions['onProgress'],
): Promise<OnnxExport> {
  const byId = new Map(model.parameters.map((parameter) => [parameter.id, parameter]));
  const typeOf = (id: string): FloatDtype => typeIn(model, dtype, parameterOf(byId, id));
  const decoder = decoderGraph(model.plan, session, (id) => STORED_DTYPES[typeOf(id)]);
  const encoded = (parameter: Parameter) =>
    encodeFinite(parameter.id, model.values(parameter), typeOf(parameter.id));

  const { batch, probe } = probeBatch(model.plan.vocabularySize);
  const want = await usedLogits(model, session, batch, probe.at, { typeOf, encoded });
  const mayTie = moeLayerIndices(model.plan).length > 0;
  let logits: LogitComparison = { largestDifference: 0, largestLogit: 0, rowsApart: 0 };
  const tensors = tensorsOf(decoder, (id) => {
    const parameter = parameterOf(byId, id);
    return { bytes: tensorBytes(typeOf(id), parameter.shape), data: () => encoded(parameter) };
  });
  const files = await writeOnnxFolder({
    source: model.source,
    out,
    graph: decoder.graph,
    tensors,
    check: (file) => {
      logits = compareLogits(probe, want, runFile(file, batch), mayTie);
    },
    onProgress,
  });
  return { files, tensors: tensors.length, logits };
}

function parameterOf(byId: ReadonlyMap<string, Parameter>, id: string): Parameter {
  const parameter = byId.get(id);
  invariant(parameter !== undefined, `the graph reads ${id}, which is no parameter`);
  return parameter;
}

function typeIn(model: ChangedModel, dtype: FloatDtype | 'source', parameter: Parameter): FloatDtype {
  // Stages take what methods add in float32.
  if (isAddition(parameter)) return 'F32';
  if (dtype !== 'source') return parameter.shape.length > 1 ? dtype : 'F32';
  const own = model.source.tensors.get(placeOf(model, parameter)?.name ?? '')?.dtype;
  return own !== undefined && isFloatDtype(own) ? own : 'F32';
}

/** What the graph reads besides the tokens. */
function tensorsOf(
  { graph, tables }: DecoderGraph,
  weight: (id: string) => Omit<OnnxTensor, 'name'>,
): OnnxTensor[] {
  return graph.inputs.flatMap(({ name }) => {
    if (name === 'input_ids' || name === 'attention_mask') return [];
    const data = tables.get(name)?.data;
    if (data === undefined) return [{ name, ...weight(name) }];
    const bytes = () => new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    return [{ name, bytes: data.byteLength, data: bytes }];
  });
}

/** Logits [batch · sequence, vocabulary] of a model file. */
function runFile(file: string, batch: MicroBatch): Float32Array {
  const program = openModelFile(file, { inputs: ['input_ids', 'attention_mask'], outputs: ['logits'] });
  try {
    const shape = [batch.batch, batch.sequence];
    const integers = (values: Int32Array) =>
      ({ dtype: 'int64', shape, data: BigInt64Array.from(values, BigInt) }) as const;
    const { logits } = program.run({
      input_ids: integers(batch.inputIds),
      attention_mask: integers(batch.segments),
    });
    invariant(logits?.data instanceof Float32Array, 'logits are float32');
    return logits.data;
  } finally {
    program.release();
  }
}
