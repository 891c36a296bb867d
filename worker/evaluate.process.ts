/**
 * Asks a run a suite of questions in a process of its own: a model in memory and hours of computing are nothing for a host.
 * Reads one request as JSON from stdin; writes a line of JSON for each notice of progress, then one with the result.
 */
import { text } from 'node:stream/consumers';
import { resultOf } from '#core/contract/result.ts';
import { AskRequest } from '#core/contract/suite-score.ts';
import { scoreSuites } from '#worker/train/index.ts';

const say = (line: unknown) => process.stdout.write(`${JSON.stringify(line)}\n`);
// Whoever asked is gone.
process.stdout.once('error', () => process.exit(1));

const { runDir, suite, options } = AskRequest.parse(JSON.parse(await text(process.stdin)));
const progress = (_: string, notice: unknown) => void say({ notice });
say(await resultOf(() => scoreSuites({ runDir }, [suite], options, { progress })));
