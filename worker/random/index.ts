/** Random numbers by counter: nothing to store, the same on every machine. */
export { philox, uniform } from './philox.ts';
