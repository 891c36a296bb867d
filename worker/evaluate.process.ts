/** Asks a run a suite of questions. */
import { AskRequest } from '#core/contract/suite-score.ts';
import { scoreSuites } from '#worker/train/index.ts';
import { answerQuestion } from './answer-question.ts';

await answerQuestion(AskRequest, ({ runDir, suite, options, mapping }, notice) =>
  scoreSuites({ runDir }, [suite], options, { progress: (_, progress) => notice(progress) }, mapping),
);
