import type { UseQueryResult } from '@tanstack/react-query';
import type { ReactNode } from 'react';
import { toErrorInfo } from '#core/contract/errors.ts';
import { describeEstimateError, type EstimateError, type RunPlan } from '#core/contract/method.ts';
import { Card } from '../../ui/card.tsx';
import {
  formatCount,
  formatDuration,
  formatLarge,
  formatMB,
  formatRange,
  formatShare,
  listed,
} from '../../ui/format.ts';
import { EmptyState, ErrorNote, Skeleton } from '../../ui/states.tsx';

function Memory({ memory }: { readonly memory: RunPlan['memoryMB'] }) {
  const parts = Object.entries(memory.parts).filter(([, size]) => size > 0);
  const scale = Math.max(memory.availableMB, memory.high);
  const tooMuch = memory.high > memory.availableMB;
  return (
    <div className="plan-memory">
      <div className="plan-bar" aria-hidden="true">
        {parts.map(([name, size], i) => (
          <i key={name} style={{ width: `${(100 * size) / scale}%`, background: `var(--s${(i % 8) + 1})` }} />
        ))}
        <u style={{ left: `${Math.min(100, (100 * memory.availableMB) / scale)}%` }} />
      </div>
      <ul>
        {parts.map(([name, size], i) => (
          <li key={name}>
            <i style={{ background: `var(--s${(i % 8) + 1})` }} aria-hidden="true" />
            {name} <b>{formatMB(size)}</b>
          </li>
        ))}
      </ul>
      {memory.recomputedLayers > 0 && (
        <p>
          {memory.recomputedLayers === 1 ? 'One layer is' : `${memory.recomputedLayers} layers are`} computed
          twice to stay within the memory budget: slower, with the same results.
        </p>
      )}
      {memory.streamedLayers > 0 && (
        <p>
          Frozen experts of {memory.streamedLayers === 1 ? 'one layer' : `${memory.streamedLayers} layers`}{' '}
          are read from disk whenever they are used: slower, with the same results.
        </p>
      )}
      {tooMuch && (
        <p className="warn-ink">
          The upper estimate is more than what is available now. A smaller micro-batch or shorter examples
          need less.
        </p>
      )}
    </div>
  );
}

/** How far such estimates were off before. */
export function PastError({ error }: { readonly error: EstimateError | undefined }) {
  return (
    <dd className="muted">
      {error === undefined ? 'No finished run to check estimates against' : describeEstimateError(error)}
    </dd>
  );
}

/** What keeps a run or a comparison from starting. */
export function Problems({
  of,
  problems,
}: {
  readonly of: 'run' | 'comparison';
  readonly problems: readonly string[];
}) {
  if (problems.length === 0) return null;
  return (
    <div className="notice bad">
      <strong>This {of} cannot start as it is</strong>
      <ul>
        {problems.map((problem) => (
          <li key={problem}>{problem}</li>
        ))}
      </ul>
    </div>
  );
}

/** What one run will need. */
export function Plan({ plan }: { readonly plan: RunPlan }) {
  const { memoryMB, deviceMB, diskMB, timeSeconds, steps } = plan;
  return (
    <div className="stack">
      <Problems of="run" problems={plan.problems} />
      <dl className="plan-numbers num">
        <div>
          <dt>Memory</dt>
          <dd>{formatRange(memoryMB.low, memoryMB.high, formatMB)}</dd>
          <dd className="muted">of {formatMB(memoryMB.availableMB)} available</dd>
          {deviceMB !== undefined && <dd className="muted">and {formatMB(deviceMB.total)} of the GPU</dd>}
          <PastError error={plan.pastErrors?.memory} />
        </div>
        <div>
          <dt>Time</dt>
          <dd>
            {timeSeconds === undefined
              ? 'not estimated'
              : formatRange(timeSeconds.low, timeSeconds.high, formatDuration)}
          </dd>
          <dd className="muted">
            {timeSeconds?.basis ??
              (deviceMB === undefined ? 'known when the steps are' : 'a graphics adapter has to be tried')}
          </dd>
          <PastError error={plan.pastErrors?.time} />
        </div>
        <div>
          <dt>Disk</dt>
          <dd>{formatMB(diskMB.total)}</dd>
          <dd className="muted">
            {formatMB(diskMB.perCheckpoint)} a checkpoint, {formatMB(diskMB.freeMB)} free
          </dd>
        </div>
        <div>
          <dt>Trained</dt>
          <dd>{formatLarge(plan.trainableParameters)}</dd>
          <dd className="muted">
            {formatShare(plan.trainableParameters / Math.max(1, plan.totalParameters))} of{' '}
            {formatLarge(plan.totalParameters)}
          </dd>
        </div>
        <div>
          <dt>Steps</dt>
          <dd>{steps === undefined ? 'not known' : formatCount(steps)}</dd>
          <dd className="muted">{steps === undefined ? 'until the data are prepared' : 'optimizer steps'}</dd>
        </div>
      </dl>
      <Memory memory={memoryMB} />
      {deviceMB?.measures.map((measure) => (
        <p key={measure}>{measure}</p>
      ))}
    </div>
  );
}

/** What the run will need, and what is missing. */
export function ReviewCard<P>({
  plan,
  ready,
  missing,
  children,
}: {
  readonly plan: UseQueryResult<P>;
  readonly ready: boolean;
  readonly missing: readonly string[];
  readonly children: (plan: P) => ReactNode;
}) {
  const body = () => {
    if (!ready) {
      return missing.length > 0 ? (
        <EmptyState
          inset
          text={`Memory, disk and time are estimated once ${listed(missing)} ${missing.length === 1 ? 'is' : 'are'} chosen.`}
        />
      ) : (
        <EmptyState inset text="Correct the fields above to see what the run will need." />
      );
    }
    if (plan.data !== undefined) return children(plan.data);
    if (plan.error !== null) {
      return (
        <ErrorNote
          what="The plan could not be made"
          error={toErrorInfo(plan.error)}
          onRetry={() => void plan.refetch()}
        />
      );
    }
    return <Skeleton label="Estimating" lines={4} />;
  };
  return (
    <Card
      title="5 · Review"
      aside={plan.isFetching && ready ? <span role="status">estimating…</span> : undefined}
    >
      {body()}
    </Card>
  );
}
