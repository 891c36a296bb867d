import type { StepMetrics } from '#core/contract/metrics.ts';
import { SparkLine } from '../../charts/spark-line.tsx';
import { NOT_MEASURED } from '../../ui/format.ts';
import { quantities, type Quantity } from './curves.ts';

const shown: readonly Quantity[] = [
  'loss',
  'tokensPerSecond',
  'rssMB',
  'deviceMB',
  'learningRate',
  'gradNorm',
];

/** The newest value of each quantity; choosing one shows its curve. */
export function Measures({
  steps,
  chosen,
  onChoose,
}: {
  readonly steps: readonly StepMetrics[];
  readonly chosen: Quantity;
  readonly onChoose: (quantity: Quantity) => void;
}) {
  const last = steps.at(-1);
  // Only runs on a graphics adapter take memory there.
  const present = shown.filter((quantity) => quantity !== 'deviceMB' || last?.deviceMB !== undefined);
  return (
    <div className="measures" role="group" aria-label="Newest values; choose one to see its curve">
      {present.map((quantity) => {
        const { title, unit, format } = quantities[quantity];
        const value = last?.[quantity];
        const [number, ownUnit] = (value === undefined ? NOT_MEASURED : format(value)).split(' ', 2);
        return (
          <button
            key={quantity}
            type="button"
            className="measure"
            aria-pressed={quantity === chosen}
            onClick={() => onChoose(quantity)}
          >
            <span className="measure-title">{title}</span>
            <span className="measure-value num">
              {number} <span className="measure-unit">{ownUnit ?? unit}</span>
            </span>
            <SparkLine values={steps.flatMap((step) => step[quantity] ?? [])} />
          </button>
        );
      })}
    </div>
  );
}
