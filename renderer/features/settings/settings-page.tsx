import { useQueryClient } from '@tanstack/react-query';
import { type SubmitEvent, useState } from 'react';
import { toErrorInfo } from '#core/contract/errors.ts';
import type { CallInput } from '#core/contract/host-api.ts';
import type { Settings } from '#core/contract/settings.ts';
import { useCall, useCommand } from '../../api/use-host.ts';
import { DeviceFacts } from '../../ui/device-facts.tsx';
import { Button } from '../../ui/button.tsx';
import { Card, PageHead } from '../../ui/card.tsx';
import { formatCount, formatMB } from '../../ui/format.ts';
import { Segmented } from '../../ui/segmented.tsx';
import { ErrorNote, Loaded } from '../../ui/states.tsx';
import { applyTheme } from './theme.ts';
import './settings.css';

type Change = (change: CallInput<'app.updateSettings'>) => void;

/** A whole number, or nothing for the automatic choice. */
function LimitField({
  id,
  label,
  note,
  unit,
  value,
  onSave,
}: {
  readonly id: string;
  readonly label: string;
  readonly note: string;
  readonly unit: string;
  readonly value: number | null;
  readonly onSave: (value: number | null) => void;
}) {
  const [text, setText] = useState(value === null ? '' : String(value));
  const parsed = text.trim() === '' ? null : Number(text);
  const valid = parsed === null || (Number.isInteger(parsed) && parsed > 0);
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    if (valid) onSave(parsed);
  };
  return (
    <form className="setting" onSubmit={submit}>
      <label htmlFor={id}>
        {label}
        <small>{note}</small>
      </label>
      <div className="row">
        <input
          id={id}
          className="input number"
          inputMode="numeric"
          placeholder="automatic"
          value={text}
          aria-invalid={!valid}
          onChange={(event) => setText(event.target.value)}
        />
        <span className="muted">{unit}</span>
        <Button type="submit" small disabled={!valid || parsed === value}>
          Save
        </Button>
        {!valid && <span className="bad-ink">a whole number above 0</span>}
      </div>
    </form>
  );
}

function Choices({ settings, change }: { readonly settings: Settings; readonly change: Change }) {
  const device = useCall('app.device', undefined);
  return (
    <div>
      <div className="setting">
        <span>
          Theme
          <small>System follows the desktop.</small>
        </span>
        <Segmented
          label="Theme"
          value={settings.theme}
          choices={[
            { value: 'system', label: 'System' },
            { value: 'light', label: 'Light' },
            { value: 'dark', label: 'Dark' },
          ]}
          onChange={(theme) => {
            applyTheme(theme);
            change({ theme });
          }}
        />
      </div>
      <div className="setting">
        <span>
          Compute on
          <small>
            {device.data?.providers.find(({ name }) => name === 'webgpu')?.reason ??
              'Automatic: the faster of processor and graphics adapter.'}
          </small>
        </span>
        <Segmented
          label="Compute on"
          value={settings.provider}
          choices={[
            { value: 'auto', label: 'Automatic' },
            { value: 'cpu', label: 'CPU' },
            { value: 'webgpu', label: 'WebGPU' },
          ]}
          onChange={(provider) => change({ provider })}
        />
      </div>
      <LimitField
        id="threads"
        label="Threads"
        note={
          device.data === undefined
            ? 'Automatic: one for each core.'
            : `Automatic: one for each of ${device.data.cpu.cores} cores.`
        }
        unit="threads"
        value={settings.threads === 'auto' ? null : settings.threads}
        onSave={(threads) => change({ threads: threads ?? 'auto' })}
      />
      <LimitField
        id="memory"
        label="Memory budget"
        note={
          device.data === undefined
            ? 'Automatic: what is available when a run starts.'
            : `Automatic: what is available when a run starts, ${formatMB(device.data.memoryMB.available)} now.`
        }
        unit="MB"
        value={settings.memoryBudgetMB}
        onSave={(memoryBudgetMB) => change({ memoryBudgetMB })}
      />
      <LimitField
        id="device-memory"
        label="GPU memory budget"
        note="Automatic: all that a run wants; a graphics adapter does not tell how much it has."
        unit="MB"
        value={settings.deviceMemoryMB}
        onSave={(deviceMemoryMB) => change({ deviceMemoryMB })}
      />
    </div>
  );
}

/** Theme, limits, where data lie, and the proof that nothing leaves the machine. */
export function SettingsPage() {
  const settings = useCall('app.settings', undefined);
  const info = useCall('app.info', undefined, { everyMs: 5000 });
  const device = useCall('app.device', undefined);
  const queries = useQueryClient();
  const update = useCommand('app.updateSettings');
  const change: Change = (input) =>
    update.mutate(input, { onSuccess: (value) => queries.setQueryData(['app.settings', null], value) });
  return (
    <div className="stack narrow">
      <PageHead title="Settings" />
      {update.error !== null && (
        <ErrorNote what="The setting was not saved" error={toErrorInfo(update.error)} />
      )}
      <Card title="Choices">
        <Loaded query={settings} what="the settings">
          {(value) => <Choices key={JSON.stringify(value)} settings={value} change={change} />}
        </Loaded>
      </Card>
      <Card title="Privacy">
        <Loaded query={info} what="the host's facts">
          {(value) => (
            <dl className="facts">
              <dt>Network requests since start</dt>
              <dd>
                <b>{formatCount(value.networkRequests)}</b>{' '}
                <span className="muted">
                  {value.networkRequests === 0
                    ? 'Nothing left this machine.'
                    : 'Requests other than this page’s own; see the log of the host.'}
                </span>
              </dd>
              <dt>Data folder</dt>
              <dd>
                <code>{value.home}</code>
              </dd>
              <dt>Version</dt>
              <dd>
                {value.version} · {value.shell === 'electron' ? 'desktop' : 'browser'}
              </dd>
            </dl>
          )}
        </Loaded>
      </Card>
      <Card title="Device">
        <Loaded query={device} what="the device">
          {(value) => <DeviceFacts device={value} />}
        </Loaded>
      </Card>
    </div>
  );
}
