/** Exports a run. */
import { ExportRequest } from '#core/contract/run-export.ts';
import { exportRun } from '#worker/export/index.ts';
import { answerQuestion } from './answer-question.ts';

await answerQuestion(ExportRequest, exportRun);
