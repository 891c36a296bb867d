/** Random numbers by counter: nothing to store, the same on every machine. */
export { dropoutMask } from './dropout.ts';
export { normal, philox, uniform } from './philox.ts';
