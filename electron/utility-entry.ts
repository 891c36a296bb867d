/**
 * Runs the training program in Electron's utility process, where no plain Node is bundled: the program speaks over
 * `process.send`, which a utility process lacks, so the port to its parent is dressed up as that.
 */
import { pathToFileURL } from 'node:url';
import { invariant } from '#core/contract/errors.ts';

const script = process.argv[2];
invariant(script !== undefined, 'the utility process was started without a program');

const port = process.parentPort;
Object.assign(process, {
  connected: true,
  send: (message: unknown, sent: (error: Error | null) => void): boolean => {
    port.postMessage(message);
    sent(null);
    return true;
  },
  disconnect: () => process.exit(0),
});
port.on('message', (event) => process.emit('message', event.data, undefined));
await import(pathToFileURL(script).href);
