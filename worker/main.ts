/**
 * The training process: a plain Node process that a host starts with a message channel. It holds one run and ends with
 * it (WP2).
 */
import { runWorkerProcess } from './worker-process.ts';

runWorkerProcess(async () => {
  const { train } = await import('#worker/train/index.ts');
  const { probeBeside } = await import('#worker/runtime/index.ts');
  const probe = probeBeside(process.execPath, import.meta.filename);
  return (run) => train({ ...run, probe });
});
