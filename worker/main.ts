/**
 * The training process: a plain Node process that a host starts with a message channel. It holds one run and ends with
 * it (WP2).
 */
import { runWorkerProcess } from './worker-process.ts';

runWorkerProcess(async () => (await import('#worker/train/index.ts')).train);
