/**
 * Exports a run in a process of its own: a model in memory and gigabytes of writing are nothing for a host.
 * Reads one request as JSON from stdin; writes a line of JSON for each notice of progress, then one with the result.
 */
import { text } from 'node:stream/consumers';
import { resultOf } from '#core/contract/result.ts';
import { ExportRequest } from '#core/contract/run-export.ts';
import { exportRun } from '#worker/train/index.ts';

const say = (line: unknown) => process.stdout.write(`${JSON.stringify(line)}\n`);
// Whoever asked is gone.
process.stdout.once('error', () => process.exit(1));

const request = ExportRequest.parse(JSON.parse(await text(process.stdin)));
say(await resultOf(() => exportRun(request, (notice) => void say({ notice }))));
