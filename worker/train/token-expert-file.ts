/** The file of tables that route by token: `layers.<l>.token_experts` [vocabulary, experts per token] in int32. */
import { UserError } from '#core/contract/errors.ts';
import { routerShapes, shapeOf, type DecoderPlan } from '#worker/model/index.ts';
import { readLayerTensors, writeLayerTensors, type LayerTensorFile } from './layer-tensor-file.ts';

const kind: LayerTensorFile = { name: 'token_experts', dtype: 'I32', reads: (dtype) => dtype === 'I32' };

/** Writes the file into `dir`, in place of an older one. @param tables one for each MoE layer. */
export function writeTokenExperts(dir: string, plan: DecoderPlan, tables: readonly Int32Array[]): void {
  const tensors = tables.map((table_VK) => ({
    shape: [plan.vocabularySize, table_VK.length / plan.vocabularySize],
    data: new Uint8Array(table_VK.buffer, table_VK.byteOffset, table_VK.byteLength),
  }));
  writeLayerTensors(dir, kind, plan, tensors);
}

/**
 * Reads the file, or the one in a folder: one table for each MoE layer; −1 where a token has no expert of its own.
 * @throws UserError `layer-tensors/other-model`, `token-experts/no-expert`, and those of an unreadable file.
 */
export function readTokenExperts(path: string, plan: DecoderPlan): Int32Array[] {
  const shapes = routerShapes(plan);
  const wanted = (index: number) => [plan.vocabularySize, shapeOf(shapes, index).expertsPerToken];
  return readLayerTensors(path, kind, plan, wanted).map(({ bytes }, index) => {
    const table_VK = new Int32Array(bytes.buffer);
    const { experts } = shapeOf(shapes, index);
    const wrong = table_VK.find((expert) => expert < -1 || expert >= experts);
    if (wrong !== undefined) {
      throw new UserError(
        'token-experts/no-expert',
        `${path}: MoE layer ${index} sends a token to expert ${wrong}; the layer has ${experts}`,
        'The file belongs to another model.',
      );
    }
    return table_VK;
  });
}
