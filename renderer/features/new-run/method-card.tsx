import type { Dispatch, SetStateAction } from 'react';
import type { ComparisonPlan } from '#core/contract/host-api.ts';
import type { RunPlan } from '#core/contract/method.ts';
import { useCall } from '../../api/use-host.ts';
import { Card } from '../../ui/card.tsx';
import { Segmented } from '../../ui/segmented.tsx';
import { EmptyState, Loaded } from '../../ui/states.tsx';
import { type FormState, missingParts, type SetError, toDraft } from './draft.ts';
import { ComparedMethods } from './compared-methods.tsx';
import { MethodParts } from './method-parts.tsx';
import { MethodText } from './method-text.tsx';

/** Three repetitions are the fewest that give an interval worth reading. */
const FIRST_SEEDS = [1, 2, 3];

/** Which method or methods, and their options as they themselves describe them. */
export function MethodCard({
  form,
  plan,
  planAll,
  setForm,
  setError,
}: {
  readonly form: FormState;
  /** Of the run, and of all runs of a comparison: where methods do not go together, it says so. */
  readonly plan: RunPlan | undefined;
  readonly planAll: ComparisonPlan | undefined;
  readonly setForm: Dispatch<SetStateAction<FormState>>;
  readonly setError: SetError;
}) {
  const methods = useCall('methods.list', undefined);
  const { compared, parts } = form;
  const [first, ...beside] = parts;
  const previewed = (of: FormState['parts']) => {
    const alone = { ...form, compared: undefined, parts: of };
    return { draft: () => toDraft(alone), missing: missingParts(alone) };
  };
  const setParts = (next: FormState['parts']) => setForm((old) => ({ ...old, parts: next }));
  const choose = (name: string) =>
    setParts([{ name, options: {} }, ...beside.filter((part) => part.name !== name)]);
  const compare = (on: boolean) =>
    setForm(({ compared: before, ...old }) =>
      on
        ? {
            ...old,
            compared: before ?? {
              methods: old.parts.length === 0 ? [] : [{ key: 0, parts: old.parts }],
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
            { value: 'one', label: 'one run' },
            { value: 'several', label: 'compare methods' },
          ]}
          onChange={(value) => compare(value === 'several')}
        />
      }
    >
      <Loaded query={methods} what="the methods" lines={5}>
        {(list) =>
          list.length === 0 ? (
            <EmptyState inset text="The host offers no training method." />
          ) : compared !== undefined ? (
            <ComparedMethods
              list={list}
              compared={compared}
              plan={planAll}
              previewed={previewed}
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
                      checked={method.name === first?.name}
                      onChange={() => choose(method.name)}
                    />
                    <MethodText method={method} />
                  </label>
                ))}
              </div>
              {first !== undefined && (
                <MethodParts
                  list={list}
                  parts={parts}
                  heading={({ title, source }, together) => (
                    <h3>
                      {together ? `Options of ${title}` : 'Options'} <small>defaults from: {source}</small>
                    </h3>
                  )}
                  problem={plan?.methodProblem}
                  previewed={previewed(parts)}
                  onChange={setParts}
                  setError={setError}
                />
              )}
            </div>
          )
        }
      </Loaded>
    </Card>
  );
}
