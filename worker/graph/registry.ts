import type { OpDef } from './op-def.ts';
import { arithmeticOps } from './ops/arithmetic.ts';
import { constantOp } from './ops/constant.ts';
import { indexingOps } from './ops/indexing.ts';
import { int8Ops } from './ops/int8.ts';
import { layoutOps } from './ops/layout.ts';
import { linearOps } from './ops/linear.ts';
import { lossOps } from './ops/loss.ts';
import { normOps } from './ops/norm.ts';
import { reduceOps } from './ops/reduce.ts';
import { rotaryOps } from './ops/rotary.ts';
import { selectOps } from './ops/select.ts';
import { shapeOps } from './ops/shape.ts';
import { unaryOps } from './ops/unary.ts';

/** Every operation by name, each defined in one place: attributes, type inference, gradient, lowering per dialect. */
export const opTable: ReadonlyMap<string, OpDef> = new Map(
  [
    constantOp,
    ...Object.values(shapeOps),
    ...Object.values(selectOps),
    ...Object.values(arithmeticOps),
    ...Object.values(unaryOps),
    ...Object.values(layoutOps),
    ...Object.values(reduceOps),
    ...Object.values(linearOps),
    ...Object.values(int8Ops),
    ...Object.values(indexingOps),
    ...Object.values(normOps),
    ...Object.values(rotaryOps),
    ...Object.values(lossOps),
  ].map((op: OpDef) => [op.name, op]),
);
