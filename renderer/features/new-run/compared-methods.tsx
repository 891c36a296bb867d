import { z } from 'zod';
import { invariant } from '#core/contract/errors.ts';
import { ComparisonTerms, MethodChoice } from '#core/contract/method-comparison.ts';
import type { MethodInfo } from '#core/contract/method.ts';
import type { Compared, SetError } from './draft.ts';
import { MethodText } from './method-text.tsx';
import { SchemaForm } from './schema-form.tsx';

const seedsSchema = z.toJSONSchema(ComparisonTerms.pick({ seeds: true }), { io: 'input' });
const ratesSchema = z.toJSONSchema(MethodChoice.pick({ learningRates: true }), { io: 'input' });

/** Several methods, each with its learning rates and options, and the seeds of all. */
export function ComparedMethods({
  list,
  compared,
  onChange,
  setError,
}: {
  readonly list: readonly MethodInfo[];
  readonly compared: Compared;
  readonly onChange: (compared: Compared) => void;
  readonly setError: SetError;
}) {
  const { methods, seeds } = compared;
  const chosen = (name: string) => methods.some((method) => method.name === name);
  const toggle = (name: string, on: boolean) => {
    const rest = methods.filter((method) => method.name !== name);
    onChange({ ...compared, methods: on ? [...rest, { name, options: {} }] : rest });
  };
  const setMethod = (i: number, change: Partial<Compared['methods'][number]>) =>
    onChange({
      ...compared,
      methods: methods.map((method, j) => (j === i ? { ...method, ...change } : method)),
    });
  return (
    <div className="stack">
      <div className="choices two" role="group" aria-label="Methods to compare">
        {list.map((method) => (
          <label key={method.name} className="choice">
            <input
              type="checkbox"
              checked={chosen(method.name)}
              onChange={(event) => toggle(method.name, event.target.checked)}
            />
            <MethodText method={method} />
          </label>
        ))}
      </div>
      <SchemaForm
        schema={seedsSchema}
        values={{ seeds }}
        onChange={(values) => {
          const given = values['seeds'];
          onChange({ ...compared, seeds: given === undefined ? [] : listOf(given) });
        }}
        onError={(key, error) => setError('train', key, error)}
      />
      {methods.map((method, i) => {
        const info = list.find(({ name }) => name === method.name);
        if (info === undefined) {
          return (
            <p key={method.name} className="bad-ink">
              The method “{method.name}” is not offered by this host. Choose others.
            </p>
          );
        }
        return (
          <fieldset key={`${method.name} ${method.label ?? ''}`} className="plain-fieldset">
            <legend>
              {method.label ?? info.title} <small>defaults from: {info.source}</small>
            </legend>
            <div className="stack">
              <SchemaForm
                schema={ratesSchema}
                values={{ learningRates: method.learningRates }}
                onChange={({ learningRates: given }) =>
                  setMethod(i, { learningRates: given === undefined ? undefined : listOf(given) })
                }
                onError={(key, error) => setError('train', `${method.name}.${key}`, error)}
              />
              <SchemaForm
                schema={info.optionsSchema}
                values={method.options}
                onChange={(options) => setMethod(i, { options })}
                onError={(key, error) => setError('options', `${method.name}.${key}`, error)}
              />
            </div>
          </fieldset>
        );
      })}
    </div>
  );
}

/** The entries of a list that a field gave. */
function listOf(given: unknown): readonly unknown[] {
  invariant(Array.isArray(given), 'a field of a list gives a list');
  return given;
}
