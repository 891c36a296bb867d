import type { Dispatch, SetStateAction } from 'react';
import { useCall } from '../../api/use-host.ts';
import { Card } from '../../ui/card.tsx';
import { EmptyState, Loaded } from '../../ui/states.tsx';
import type { FormState, SetError, SetSection } from './draft.ts';
import { SchemaForm } from './schema-form.tsx';

/** Which method, and its options as the method itself describes them. */
export function MethodCard({
  form,
  setForm,
  setSection,
  setError,
}: {
  readonly form: FormState;
  readonly setForm: Dispatch<SetStateAction<FormState>>;
  readonly setSection: SetSection;
  readonly setError: SetError;
}) {
  const methods = useCall('methods.list', undefined);
  const choose = (name: string) =>
    setForm((old) =>
      old.method === name ? old : { ...old, method: name, sections: { ...old.sections, options: {} } },
    );
  return (
    <Card title="3 · Method">
      <Loaded query={methods} what="the methods" lines={5}>
        {(list) => {
          const chosen = list.find((method) => method.name === form.method);
          return list.length === 0 ? (
            <EmptyState inset text="The host offers no training method." />
          ) : (
            <div className="stack">
              <div className="choices two" role="radiogroup" aria-label="Method">
                {list.map((method) => (
                  <label key={method.name} className="choice">
                    <input
                      type="radio"
                      name="method"
                      checked={method.name === form.method}
                      onChange={() => choose(method.name)}
                    />
                    <b>{method.title}</b>
                    <small className="method-trains">{method.trains}</small>
                    <small>Cost: {method.cost}</small>
                  </label>
                ))}
              </div>
              {form.method !== undefined && chosen === undefined && (
                <p className="bad-ink">
                  The method “{form.method}” is not offered by this host. Choose one of the above.
                </p>
              )}
              {chosen !== undefined && (
                <>
                  <h3>
                    Options <small>defaults from: {chosen.source}</small>
                  </h3>
                  <SchemaForm
                    key={chosen.name}
                    schema={chosen.optionsSchema}
                    values={form.sections.options}
                    onChange={(values) => setSection('options', values)}
                    onError={(key, error) => setError('options', key, error)}
                  />
                </>
              )}
            </div>
          );
        }}
      </Loaded>
    </Card>
  );
}
