/** Random numbers by counter: nothing to store, the same on every machine. */
export { philox } from './philox.ts';
