import type { DeviceInfo } from '#core/contract/settings.ts';
import { formatMB } from './format.ts';
import { PlacementText } from './placement-text.tsx';

const providers: Readonly<Record<string, string>> = {
  cpu: 'CPU',
  webgpu: 'WebGPU',
  cuda: 'CUDA',
  tensorrt: 'TensorRT',
};

const programs: Readonly<Record<string, string>> = {
  node: 'Node',
  onnxruntime: 'ONNX Runtime',
  sqlite: 'SQLite',
};

/** An execution provider's name as its makers write it. */
export function providerName(name: string): string {
  return providers[name] ?? name;
}

/** What the machine has, and each execution provider: used, or why not. */
export function DeviceFacts({ device }: { readonly device: DeviceInfo }) {
  return (
    <dl className="facts">
      <dt>Processor</dt>
      <dd>
        {device.cpu.model} · {device.cpu.cores} cores
        {device.cpu.instructionSets.length > 0 && ` · ${device.cpu.instructionSets.join(', ')}`}
      </dd>
      <dt>Memory</dt>
      <dd>
        {formatMB(device.memoryMB.available)} free of {formatMB(device.memoryMB.total)}
      </dd>
      <dt>Disk</dt>
      <dd>{formatMB(device.diskFreeMB)} free</dd>
      {device.providers.map((provider) => (
        <div key={provider.name} style={{ display: 'contents' }}>
          <dt>{providerName(provider.name)}</dt>
          <dd>
            <span className={provider.used ? 'chip ok' : 'chip'}>{provider.used ? 'used' : 'not used'}</span>{' '}
            <span className="muted">
              {provider.reason}
              {provider.placement !== undefined && (
                <>
                  {' '}
                  A training step of the sample: <PlacementText placement={provider.placement} />.
                </>
              )}
            </span>
          </dd>
        </div>
      ))}
      {Object.entries(device.versions).map(([name, version]) => (
        <div key={name} style={{ display: 'contents' }}>
          <dt>{programs[name] ?? name}</dt>
          <dd>{version}</dd>
        </div>
      ))}
    </dl>
  );
}
