import type { Dispatch, SetStateAction } from 'react';
import { useCall } from '../../api/use-host.ts';
import { Card } from '../../ui/card.tsx';
import { Segmented } from '../../ui/segmented.tsx';
import { EmptyState, Loaded } from '../../ui/states.tsx';
import type { FormState, SetError, SetSection } from './draft.ts';
import { ComparedMethods } from './compared-methods.tsx';
import { ExpertPreview } from './expert-preview.tsx';
import { fieldsOf } from './field-model.ts';
import { MethodText } from './method-text.tsx';
import { SchemaForm } from './schema-form.tsx';

/** The method that chooses experts by a sample of the data. */
const CHOOSES_EXPERTS = 'esft';

/** Three repetitions are the fewest that give an interval worth reading. */
const FIRST_SEEDS = [1, 2, 3];

/** Which method or methods, and its options as the method itself describes them. */
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
  const { compared } = form;
  const compare = (on: boolean) =>
    setForm(({ compared: before, ...old }) =>
      on
        ? {
            ...old,
            compared: before ?? {
              methods: old.method === undefined ? [] : [{ name: old.method, options: old.sections.options }],
              seeds: FIRST_SEEDS,
            },
          }
        : old,
    );
  return (
    <Card
      title="3 · Method"
      aside={
        <Segmented
          label="What to train"
          value={compared === undefined ? 'one' : 'several'}
          choices={[
            { value: 'one', label: 'one method' },
            { value: 'several', label: 'compare methods' },
          ]}
          onChange={(value) => compare(value === 'several')}
        />
      }
    >
      <Loaded query={methods} what="the methods" lines={5}>
        {(list) => {
          const chosen = list.find((method) => method.name === form.method);
          return list.length === 0 ? (
            <EmptyState inset text="The host offers no training method." />
          ) : compared !== undefined ? (
            <ComparedMethods
              list={list}
              compared={compared}
              onChange={(next) => setForm((old) => ({ ...old, compared: next }))}
              setError={setError}
            />
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
                    <MethodText method={method} />
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
                  {chosen.name === CHOOSES_EXPERTS && (
                    <ExpertPreview
                      form={form}
                      share={Number(
                        form.sections.options['share'] ??
                          fieldsOf(chosen.optionsSchema).find(({ key }) => key === 'share')?.defaultValue,
                      )}
                      onShare={(share) => setSection('options', { ...form.sections.options, share })}
                    />
                  )}
                </>
              )}
            </div>
          );
        }}
      </Loaded>
    </Card>
  );
}
