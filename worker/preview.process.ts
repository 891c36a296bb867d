/**
 * Previews the experts of a run in a process of its own: a model in memory and minutes of computing are nothing for a host.
 * Reads the run's specification, paths absolute, and the folder for tokenized data as JSON from stdin; writes one result.
 */
import { text } from 'node:stream/consumers';
import { z } from 'zod';
import { resultOf } from '#core/contract/result.ts';
import { RunSpec } from '#core/contract/run-spec.ts';
import { previewExperts } from '#worker/train/index.ts';

const Request = z.object({ spec: RunSpec, cacheDir: z.string() });

const { spec, cacheDir } = Request.parse(JSON.parse(await text(process.stdin)));
console.log(JSON.stringify(await resultOf(() => previewExperts(spec, cacheDir))));
