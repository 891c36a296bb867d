import { type ReactNode, useEffect, useState } from 'react';
import { Button } from './button.tsx';
import { Select } from './select.tsx';
import { Switch } from './switch.tsx';
import { chosen, differs, emptyMeaning, type Field, parseField, valueText } from './field-model.ts';

/** A field of text whose value is taken as soon as it is valid. */
function TextInput({
  id,
  field,
  value,
  onChange,
}: {
  readonly id: string;
  readonly field: Field;
  readonly value: unknown;
  readonly onChange: (value: unknown, error: string | undefined) => void;
}) {
  const outside = valueText(value);
  const [text, setText] = useState(outside);
  const [error, setError] = useState<string>();
  // A reset or an import changes the value from outside; an emptied field that means the default stays empty.
  useEffect(() => {
    const meaning = (given: unknown) => valueText(given ?? field.defaultValue);
    setText((old) => {
      const parsed = parseField(field, old);
      return 'value' in parsed && meaning(parsed.value) === meaning(outside || undefined) ? old : outside;
    });
    setError(undefined);
  }, [field, outside]);
  const numeric = field.kind === 'number';
  return (
    <>
      <input
        id={id}
        className={`input ${numeric ? 'number' : 'mono'}`}
        inputMode={numeric && field.words.length === 0 ? 'decimal' : 'text'}
        value={text}
        placeholder={emptyMeaning(field)}
        aria-invalid={error !== undefined}
        aria-describedby={`${id}-note`}
        onChange={(event) => {
          setText(event.target.value);
          const parsed = parseField(field, event.target.value);
          const wrong = 'error' in parsed ? parsed.error : undefined;
          setError(wrong);
          onChange('value' in parsed ? parsed.value : value, wrong);
        }}
      />
      {error !== undefined && (
        <span className="bad-ink field-error" role="alert">
          {error}
        </span>
      )}
    </>
  );
}

/** One option: label, control, unit, note, and a dot with a reset where it differs from the default. */
export function FieldInput({
  id,
  field,
  value,
  beside,
  onChange,
}: {
  readonly id: string;
  readonly field: Field;
  /** In place of the unit. */
  readonly beside?: ReactNode;
  /** Undefined: the default. */
  readonly value: unknown;
  readonly onChange: (value: unknown, error: string | undefined) => void;
}) {
  const changed = differs(field, value);
  const shown = value === undefined ? field.defaultValue : value;
  const usual = emptyMeaning(field);
  const set = (next: unknown) => onChange(next, undefined);
  return (
    <div className="field">
      <div className="field-head">
        <label htmlFor={id}>
          {field.title}
          {changed && (
            <span className="field-dot" title="differs from the default">
              <span className="visually-hidden"> (differs from the default)</span>
            </span>
          )}
        </label>
        {changed && (
          <Button
            small
            look="quiet"
            onClick={() => set(undefined)}
            aria-label={`Reset ${field.title} to its default`}
          >
            reset
          </Button>
        )}
      </div>
      <div className="field-control">
        {field.kind === 'switch' && (
          <Switch
            id={id}
            label={field.title}
            describedBy={`${id}-note`}
            checked={shown === true}
            onChange={(next) => set(next)}
          />
        )}
        {field.kind === 'choice' && (
          <Select
            label={field.title}
            describedBy={`${id}-note`}
            value={shown === undefined ? null : valueText(shown)}
            choices={field.choices.map(valueText).map((text) => ({ value: text, label: text }))}
            onChange={(text) => set(chosen(field, text))}
          />
        )}
        {(field.kind === 'number' ||
          field.kind === 'numbers' ||
          field.kind === 'several' ||
          field.kind === 'text' ||
          field.kind === 'json') && <TextInput id={id} field={field} value={value} onChange={onChange} />}
        {beside}
        {field.unit !== undefined && <span className="muted">{field.unit}</span>}
      </div>
      <p className="field-note" id={`${id}-note`}>
        {field.description} {usual !== '' && <span className="field-default">Default {usual}.</span>}
      </p>
    </div>
  );
}
