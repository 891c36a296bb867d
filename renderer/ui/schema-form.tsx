import { useEffect, useEffectEvent, useId, useMemo, useState } from 'react';
import { Disclosure } from './disclosure.tsx';
import { FieldInput } from './field-input.tsx';
import { differs, type Field, fieldsOf } from './field-model.ts';

const NONE: readonly string[] = [];

/** Options by name; one that is absent has its default. */
export type Values = Readonly<Record<string, unknown>>;

/**
 * A form generated from a JSON Schema. Advanced options are folded away; one that was changed stays in view.
 */
export function SchemaForm({
  schema,
  values,
  simple,
  skip = NONE,
  onChange,
  onError,
}: {
  readonly schema: unknown;
  readonly values: Values;
  /** Options always in view, where the schema does not say which are advanced. */
  readonly simple?: readonly string[];
  /** Options that have a control of their own elsewhere. */
  readonly skip?: readonly string[];
  readonly onChange: (values: Values) => void;
  /** Told for each field whether its text is wrong, and why. */
  readonly onError: (key: string, error: string | undefined) => void;
}) {
  const id = useId();
  const fields = useMemo(() => fieldsOf(schema).filter((field) => !skip.includes(field.key)), [schema, skip]);
  const [open, setOpen] = useState(false);
  const folded = (field: Field) =>
    (simple === undefined ? field.advanced : !simple.includes(field.key)) &&
    !differs(field, values[field.key]);
  const forgetErrors = useEffectEvent(() => fields.forEach(({ key }) => onError(key, undefined)));
  // A form that is gone, with its method for example, has nothing wrong any more.
  useEffect(() => () => forgetErrors(), []);
  const shown = fields.filter((field) => open || !folded(field));
  const hidden = fields.length - fields.filter((field) => !folded(field)).length;
  return (
    <div className="stack">
      <div className="fields">
        {shown.map((field) => (
          <FieldInput
            key={field.key}
            id={`${id}-${field.key}`}
            field={field}
            value={values[field.key]}
            onChange={(value, error) => {
              onError(field.key, error);
              if (error !== undefined) return;
              const rest = Object.entries(values).filter(([key]) => key !== field.key);
              onChange(Object.fromEntries(value === undefined ? rest : [...rest, [field.key, value]]));
            }}
          />
        ))}
      </div>
      {hidden > 0 && (
        <Disclosure open={open} onToggle={() => setOpen(!open)}>
          {open ? 'Fewer options' : `${hidden} more ${hidden === 1 ? 'option' : 'options'}`}
        </Disclosure>
      )}
    </div>
  );
}
