import type { RunDetail } from '#core/contract/run.ts';
import { Card } from '../../ui/card.tsx';
import {
  formatBytes,
  formatCount,
  formatLarge,
  formatMB,
  formatNumber,
  formatShare,
  plural,
} from '../../ui/format.ts';
import { providerName } from '../../ui/device-facts.tsx';
import { PlacementText } from '../../ui/placement-text.tsx';

/** What each hash is of; `code` is the program's name and version. */
const hashNames: Readonly<Record<string, string>> = {
  model: 'Model hash',
  data: 'Data hash',
  tokenizer: 'Tokenizer hash',
  general: 'General data hash',
  code: 'Program',
};

/** What the run was made of, with the hashes that make it reproducible. */
export function FactsCard({ detail }: { readonly detail: RunDetail }) {
  const { facts, spec, checkpoints } = detail;
  const bytes = checkpoints.reduce((sum, checkpoint) => sum + checkpoint.bytes, 0);
  return (
    <Card title="Made of">
      <dl className="facts">
        <dt>Training</dt>
        <dd>
          {spec.train.microBatch} × {spec.train.gradientAccumulation} rows a step · rate{' '}
          {formatNumber(spec.train.learningRate)}, {spec.train.schedule} · seed {spec.train.seed}
        </dd>
        {facts !== undefined && (
          <>
            <dt>Model</dt>
            <dd>
              {facts.family} · {facts.moeLayers} of {plural(facts.layers, 'layer')} with{' '}
              {formatCount(facts.experts)} experts, {facts.expertsPerToken} per token
            </dd>
            <dt>Trained</dt>
            <dd>
              {formatLarge(facts.trainableParameters)} parameters,{' '}
              {formatShare(facts.trainableParameters / Math.max(1, facts.totalParameters))} of{' '}
              {formatLarge(facts.totalParameters)}
            </dd>
            <dt>Rows</dt>
            <dd>
              {formatCount(facts.trainRows)} for training, {formatCount(facts.validationRows)} held out
            </dd>
            <dt>Device</dt>
            <dd>
              {providerName(facts.provider)}
              {facts.adapter === undefined ? `, ${plural(facts.threads, 'thread')}` : ` on ${facts.adapter}`}
            </dd>
            {facts.placement !== undefined && (
              <>
                <dt>Placement</dt>
                <dd>
                  <PlacementText placement={facts.placement} />
                </dd>
              </>
            )}
            {facts.halfParameters !== undefined && (
              <>
                <dt>Frozen weights</dt>
                <dd>{formatLarge(facts.halfParameters)} parameters in float16 on the adapter</dd>
              </>
            )}
          </>
        )}
        <dt>Memory</dt>
        <dd>
          {detail.peakRssMB === undefined ? 'peak not measured yet' : `peak ${formatMB(detail.peakRssMB)}`}
          {facts !== undefined && ` · estimated ${formatMB(facts.estimatedMemoryMB)}`}
          {detail.peakDeviceMB !== undefined && ` · ${formatMB(detail.peakDeviceMB)} of the graphics adapter`}
        </dd>
        <dt>Checkpoints</dt>
        <dd>
          {checkpoints.length === 0
            ? 'none yet'
            : `at step ${checkpoints.map(({ step }) => formatCount(step)).join(', ')} · ${formatBytes(bytes)}`}
        </dd>
        {Object.entries(facts?.hashes ?? {}).map(([name, hash]) => (
          <div key={name} style={{ display: 'contents' }}>
            <dt>{hashNames[name] ?? name}</dt>
            <dd>
              <code title={hash}>{hash.length > 32 ? `${hash.slice(0, 16)}…` : hash}</code>
            </dd>
          </div>
        ))}
      </dl>
    </Card>
  );
}
