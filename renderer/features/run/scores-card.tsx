import { useState } from 'react';
import type { RunDetail } from '#core/contract/run.ts';
import type { Share } from '#core/contract/share.ts';
import { suiteKey, type SuiteScore } from '#core/contract/suite-score.ts';
import { useCall } from '../../api/use-host.ts';
import { Button } from '../../ui/button.tsx';
import { Card } from '../../ui/card.tsx';
import { type Column, DataTable } from '../../ui/data-table.tsx';
import { formatCount } from '../../ui/format.ts';
import { EmptyState, ErrorNote, Loaded } from '../../ui/states.tsx';
import { AskSuite } from './ask-suite.tsx';
import { JobProgress } from './job-progress.tsx';

const percent = (share: number) => (100 * share).toFixed(1);
const interval = ({ low, high }: Share) => `${percent(low)} to ${percent(high)} %`;

/** How many questions were asked, and of how many where that ended before the last. */
const questionsText = ({ n, of }: SuiteScore) =>
  of === undefined ? formatCount(n) : `${formatCount(n)} of ${formatCount(of)}`;

/** A share with its interval. */
function accuracyColumn(key: string, title: string, of: (score: SuiteScore) => Share): Column<SuiteScore> {
  return {
    key,
    title,
    value: (score) => of(score).share,
    copied: (score) => `${percent(of(score).share)} % (${interval(of(score))})`,
    cell: (score) => (
      <>
        {percent(of(score).share)} % <small>({interval(of(score))})</small>
      </>
    ),
  };
}

const columns: readonly Column<SuiteScore>[] = [
  {
    key: 'suite',
    title: 'Suite',
    text: true,
    value: ({ suite }) => suite,
    cell: ({ suite }) => (
      <div className="suite-name ellipsis" title={suite}>
        {suite}
      </div>
    ),
  },
  { key: 'n', title: 'Questions', value: ({ n }) => n, cell: questionsText, copied: questionsText },
  {
    key: 'right',
    title: 'Right',
    value: ({ correct }) => correct,
    cell: ({ correct }) => formatCount(correct),
  },
  accuracyColumn('accuracy', 'Accuracy (95 %)', ({ accuracy }) => accuracy),
  accuracyColumn('published', 'Published rule (95 %)', ({ published }) => published.accuracy),
  { key: 'kind', title: 'Answers', text: true, value: ({ kind }) => kind },
  { key: 'unanswered', title: 'None found', value: ({ unanswered }) => unanswered },
  { key: 'cut', title: 'Cut off', value: ({ cut }) => cut },
  { key: 'longest', title: 'Longest', value: ({ maxNewTokens }) => maxNewTokens },
  { key: 'step', title: 'Step', value: ({ step }) => step },
  { key: 'extractor', title: 'Extractor', value: ({ extractorVersion }) => extractorVersion },
];

/** What an ended run scores on suites of questions, and a way to ask another. */
export function ScoresCard({ detail }: { readonly detail: RunDetail }) {
  const { id, checkpoints } = detail;
  const state = useCall('scores.get', { id });
  const [open, setOpen] = useState(false);
  const ask = (
    <Button small onClick={() => setOpen(true)}>
      Ask a suite…
    </Button>
  );
  const canAsk = checkpoints.length > 0 && !open && state.data !== undefined && !state.data.active;
  return (
    <Card title="Scores on questions" aside={canAsk && state.data.scores.length > 0 ? ask : undefined}>
      <Loaded query={state} what="the scores">
        {({ scores, active, failure }) => (
          <div className="stack">
            {active !== undefined && (
              <JobProgress
                id={id}
                subject="scores"
                title={active.suite}
                label="Questions asked"
                stop="Stop, keep the answers so far"
                said={
                  active.progress === undefined
                    ? 'suite and model are being read'
                    : `${formatCount(active.progress.asked)} of ${formatCount(active.progress.of)} asked, ${formatCount(active.progress.correct)} right`
                }
                done={active.progress?.asked ?? 0}
                of={active.progress?.of ?? 0}
              />
            )}
            {failure !== undefined && (
              <ErrorNote what={`${failure.suite} was not scored`} error={failure.error} />
            )}
            {open && active === undefined && <AskSuite detail={detail} onClose={() => setOpen(false)} />}
            {scores.length > 0 ? (
              <>
                <DataTable
                  caption="Scores on suites"
                  columns={columns}
                  rows={scores.toReversed()}
                  rowKey={suiteKey}
                />
                <small>
                  Answers are greedy and kept with the run, in its reports too. The stricter rule makes the
                  accuracy; the other is that of published evaluators. Intervals are Wilson’s.
                </small>
              </>
            ) : (
              !open &&
              active === undefined && (
                <EmptyState
                  inset
                  text={
                    checkpoints.length > 0
                      ? 'No suite was asked yet. A suite is a file of questions whose answers are known, or the rows the run held out.'
                      : 'The run kept no checkpoint, so there is nothing to ask.'
                  }
                >
                  {canAsk && ask}
                </EmptyState>
              )
            )}
          </div>
        )}
      </Loaded>
    </Card>
  );
}
