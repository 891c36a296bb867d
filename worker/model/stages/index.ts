/** The graphs a decoder is run with, one for each kind of stage. */
export * from './attention.ts';
export * from './dense.ts';
export * from './expert.ts';
export { gatedMlpSaved } from './gated-mlp.ts';
export * from './head.ts';
export * from './local-expert.ts';
export * from './router.ts';
export * from './stand-in.ts';
export * from './token-router.ts';
export * from './weight.ts';
