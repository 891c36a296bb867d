import { useState } from 'react';
import { Card } from '../../ui/card.tsx';
import { Disclosure } from '../../ui/disclosure.tsx';
import { Segmented } from '../../ui/segmented.tsx';
import { type FormState, runSpecSchema, type Section, type SetError, type SetSection } from './draft.ts';
import { FieldInput } from '../../ui/field-input.tsx';
import { differs, fieldsOf, schemaAt } from '../../ui/field-model.ts';
import { SchemaForm } from '../../ui/schema-form.tsx';

const trainSchema = schemaAt(runSpecSchema, 'train');
/** A run is as long as one of these says; each is offered with a length to begin with. */
const LENGTHS = { epochs: 1, steps: 100 } as const;
type Budget = keyof typeof LENGTHS;
const budgetFields = fieldsOf(trainSchema).flatMap((field) =>
  field.key === 'epochs' || field.key === 'steps'
    ? [{ ...field, title: 'Length', defaultValue: LENGTHS[field.key] }]
    : [],
);
const SIMPLE = ['learningRate', 'microBatch', 'gradientAccumulation', 'seed'];
const SKIP = ['epochs', 'steps', 'optimizer'];
/** Seeds of a comparison stand with its methods. */
const COMPARED_SKIP = [...SKIP, 'seed'];

const more: readonly { readonly section: Section; readonly title: string; readonly schema: unknown }[] = [
  { section: 'optimizer', title: 'AdamW', schema: schemaAt(trainSchema, 'optimizer') },
  { section: 'evaluate', title: 'Evaluation', schema: schemaAt(runSpecSchema, 'evaluate') },
  { section: 'checkpoint', title: 'Checkpoints', schema: schemaAt(runSpecSchema, 'checkpoint') },
  { section: 'engine', title: 'Device', schema: schemaAt(runSpecSchema, 'engine') },
];

/** How long, how fast, and how it is watched. */
export function TrainingCard({
  form,
  setSection,
  setError,
}: {
  readonly form: FormState;
  readonly setSection: SetSection;
  readonly setError: SetError;
}) {
  const { train } = form.sections;
  const budget: Budget = train['steps'] === undefined ? 'epochs' : 'steps';
  const field = budgetFields.find((candidate) => candidate.key === budget);
  const touched = more.some(({ section, schema }) =>
    fieldsOf(schema).some((entry) => differs(entry, form.sections[section][entry.key])),
  );
  const [open, setOpen] = useState(false);
  const withBudget = (key: Budget, value: unknown = LENGTHS[key]) => {
    const rest = Object.entries(train).filter(([other]) => other !== 'epochs' && other !== 'steps');
    setSection('train', Object.fromEntries([...rest, [key, value]]));
  };
  return (
    <Card title="4 · Training">
      <div className="stack">
        {field !== undefined && (
          <div className="fields">
            <FieldInput
              key={budget}
              id="train-budget"
              beside={
                <Segmented
                  label="Length in"
                  value={budget}
                  choices={[
                    { value: 'epochs', label: 'epochs' },
                    { value: 'steps', label: 'steps' },
                  ]}
                  onChange={(next) => withBudget(next)}
                />
              }
              field={field}
              value={train[budget] ?? LENGTHS[budget]}
              onChange={(value, error) => {
                setError('train', budget, error);
                if (error === undefined) withBudget(budget, value);
              }}
            />
          </div>
        )}
        <SchemaForm
          schema={trainSchema}
          values={train}
          simple={SIMPLE}
          skip={form.compared === undefined ? SKIP : COMPARED_SKIP}
          onChange={(values) => setSection('train', values)}
          onError={(key, error) => setError('train', key, error)}
        />
        {(open || touched) &&
          more.map(({ section, title, schema }) => (
            <fieldset key={section} className="plain-fieldset">
              <legend>{title}</legend>
              <SchemaForm
                schema={schema}
                values={form.sections[section]}
                onChange={(values) => setSection(section, values)}
                onError={(key, error) => setError(section, key, error)}
              />
            </fieldset>
          ))}
        {!touched && (
          <Disclosure open={open} onToggle={() => setOpen(!open)}>
            {open
              ? 'Hide optimizer, evaluation, checkpoints and device'
              : 'Optimizer, evaluation, checkpoints and device'}
          </Disclosure>
        )}
      </div>
    </Card>
  );
}
