/** Previews the experts of a run; the paths of its specification are absolute. */
import { z } from 'zod';
import { RunSpec } from '#core/contract/run-spec.ts';
import { previewExperts } from '#worker/train/index.ts';
import { answerQuestion } from './answer-question.ts';

const Request = z.object({
  spec: RunSpec,
  /** Folder for tokenized data. */
  cacheDir: z.string(),
});

await answerQuestion(Request, ({ spec, cacheDir }) => previewExperts(spec, cacheDir));
