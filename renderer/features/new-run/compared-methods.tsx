import { z } from 'zod';
import { invariant } from '#core/contract/errors.ts';
import type { ComparisonPlan } from '#core/contract/host-api.ts';
import { ComparisonTerms, labelsOf, MethodChoice } from '#core/contract/method-comparison.ts';
import { togetherAs } from '#core/contract/methods-together.ts';
import type { MethodInfo } from '#core/contract/method.ts';
import { Button } from '../../ui/button.tsx';
import type { Compared, ComparedMethod, SetError } from './draft.ts';
import type { Previewed } from './expert-preview.tsx';
import { MethodParts, partTitles } from './method-parts.tsx';
import { MethodText } from './method-text.tsx';
import { SchemaForm } from '../../ui/schema-form.tsx';

const seedsSchema = z.toJSONSchema(ComparisonTerms.pick({ seeds: true }), { io: 'input' });
const ratesSchema = z.toJSONSchema(MethodChoice.pick({ learningRates: true }), { io: 'input' });

/** The name of a choice of one method alone. */
const alone = ({ parts }: ComparedMethod) => (parts.length === 1 ? parts[0]?.name : undefined);

/** Several methods, each with its learning rates and options, and the seeds of all. */
export function ComparedMethods({
  list,
  compared,
  plan,
  previewed,
  onChange,
  setError,
}: {
  readonly list: readonly MethodInfo[];
  readonly compared: Compared;
  /** Where methods do not go together, it says so. */
  readonly plan: ComparisonPlan | undefined;
  /** The run of one choice, whose experts can be previewed. */
  readonly previewed: (parts: ComparedMethod['parts']) => Previewed;
  readonly onChange: (compared: Compared) => void;
  readonly setError: SetError;
}) {
  const { methods, seeds } = compared;
  const labels = labelsOf(methods.map(({ parts, label }) => ({ ...togetherAs(parts), label })));
  const toggle = (name: string, on: boolean) => {
    const key = 1 + Math.max(-1, ...methods.map((method) => method.key));
    const rest = methods.filter((method) => alone(method) !== name);
    onChange({ ...compared, methods: on ? [...rest, { key, parts: [{ name, options: {} }] }] : rest });
  };
  const setMethod = (key: number, change: Partial<ComparedMethod>) =>
    onChange({
      ...compared,
      methods: methods.map((method) => (method.key === key ? { ...method, ...change } : method)),
    });
  return (
    <div className="stack">
      <div className="choices two" role="group" aria-label="Methods to compare">
        {list.map((method) => (
          <label key={method.name} className="choice">
            <input
              type="checkbox"
              checked={methods.some((chosen) => alone(chosen) === method.name)}
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
        const title = method.label ?? partTitles(list, method.parts);
        const info = list.find(({ name }) => name === alone(method));
        return (
          <fieldset key={method.key} className="plain-fieldset">
            <legend>
              <span className="row">
                <span className="grow">
                  {title} {info && <small>defaults from: {info.source}</small>}
                </span>
                {method.parts.length > 1 && (
                  <Button
                    small
                    aria-label={`Leave out ${title}`}
                    onClick={() =>
                      onChange({ ...compared, methods: methods.filter((other) => other !== method) })
                    }
                  >
                    Leave out
                  </Button>
                )}
              </span>
            </legend>
            <div className="stack">
              <SchemaForm
                schema={ratesSchema}
                values={{ learningRates: method.learningRates }}
                onChange={({ learningRates: given }) =>
                  setMethod(method.key, { learningRates: given === undefined ? undefined : listOf(given) })
                }
                onError={(key, error) => setError('train', `${method.key}.${key}`, error)}
              />
              <MethodParts
                list={list}
                parts={method.parts}
                heading={(first, together) =>
                  together && (
                    <h3>
                      {first.title} <small>defaults from: {first.source}</small>
                    </h3>
                  )
                }
                problem={plan?.methods.find(({ label }) => label === labels[i])?.plan.methodProblem}
                previewed={previewed(method.parts)}
                onChange={(parts) => setMethod(method.key, { parts })}
                setError={(section, key, error) => setError(section, `${method.key}.${key}`, error)}
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
