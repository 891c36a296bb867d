import { type ReactNode, useRef } from 'react';
import { labelsOf } from '#core/contract/method-comparison.ts';
import type { NamedMethod } from '#core/contract/methods-together.ts';
import type { MethodInfo } from '#core/contract/method.ts';
import { Button } from '../../ui/button.tsx';
import { Select } from '../../ui/select.tsx';
import type { SetError } from './draft.ts';
import { ExpertPreview, type Previewed } from './expert-preview.tsx';
import { fieldsOf } from '../../ui/field-model.ts';
import { SchemaForm } from '../../ui/schema-form.tsx';

/** The method that chooses experts by a sample of the data. */
const CHOOSES_EXPERTS = 'esft';

/** Titles of methods at work together: "LoRA + Expert condensers". */
export function partTitles(list: readonly MethodInfo[], parts: readonly NamedMethod[]): string {
  return parts.map(({ name }) => list.find((method) => method.name === name)?.title ?? name).join(' + ');
}

/** A method that a document names and the host does not have. */
function Unknown({ name }: { readonly name: string }) {
  return <p className="bad-ink">The method “{name}” is not offered by this host. Choose another.</p>;
}

/** The options of one method, and of those that are put to work beside it. */
export function MethodParts({
  list,
  parts,
  heading,
  problem,
  previewed,
  onChange,
  setError,
}: {
  readonly list: readonly MethodInfo[];
  /** At least one. */
  readonly parts: readonly NamedMethod[];
  /** What stands over the options of the first. @param together others stand beside it. */
  readonly heading?: (first: MethodInfo, together: boolean) => ReactNode;
  /** What the plan says is wrong with them. */
  readonly problem?: string | undefined;
  /** The run whose experts can be previewed. */
  readonly previewed: Previewed;
  readonly onChange: (parts: readonly NamedMethod[]) => void;
  readonly setError: SetError;
}) {
  const add = useRef<HTMLButtonElement>(null);
  const together = parts.length > 1;
  // A document may name a method twice.
  const keys = labelsOf(parts);
  const free = list.filter(({ name }) => parts.every((part) => part.name !== name));
  const optionsOf = (part: NamedMethod, info: MethodInfo, name: string) => {
    const set = (options: NamedMethod['options']) =>
      onChange(parts.map((other) => (other === part ? { ...part, options } : other)));
    return (
      <>
        <SchemaForm
          schema={info.optionsSchema}
          values={part.options}
          onChange={set}
          onError={(key, error) => setError('method', `${name}.${key}`, error)}
        />
        {info.name === CHOOSES_EXPERTS && (
          <ExpertPreview
            of={previewed}
            share={Number(
              part.options['share'] ??
                fieldsOf(info.optionsSchema).find(({ key }) => key === 'share')?.defaultValue,
            )}
            onShare={(share) => set({ ...part.options, share })}
          />
        )}
      </>
    );
  };
  return (
    <div className="stack">
      {parts.map((part, i) => {
        const info = list.find(({ name }) => name === part.name);
        const key = keys[i] ?? part.name;
        if (i === 0) {
          return info === undefined ? (
            <Unknown key={key} name={part.name} />
          ) : (
            <div key={key} className="stack">
              {heading?.(info, together)}
              {optionsOf(part, info, key)}
            </div>
          );
        }
        return (
          <fieldset key={key} className="plain-fieldset">
            <legend>
              <span className="row">
                <span className="grow">
                  {info?.title ?? part.name} {info && <small>defaults from: {info.source}</small>}
                </span>
                <Button
                  small
                  aria-label={`Remove ${info?.title ?? part.name}`}
                  onClick={() => {
                    add.current?.focus();
                    onChange(parts.filter((other) => other !== part));
                  }}
                >
                  Remove
                </Button>
              </span>
            </legend>
            {info === undefined ? (
              <Unknown name={part.name} />
            ) : (
              <div className="stack">
                <small>
                  {info.trains} Cost: {info.cost}
                </small>
                {optionsOf(part, info, key)}
              </div>
            )}
          </fieldset>
        );
      })}
      {together && problem !== undefined && (
        <div className="notice bad">
          <strong>{partTitles(list, parts)} do not go together as they are</strong>
          <p>{problem}</p>
        </div>
      )}
      <div className="row wrap">
        <Select
          small
          triggerRef={add}
          label="Add a method beside it"
          placeholder="Add a method beside it…"
          value={null}
          disabled={free.length === 0}
          choices={free.map(({ name, title }) => ({ value: name, label: title }))}
          onChange={(name) => onChange([...parts, { name, options: {} }])}
        />
        {together && <small>A weight trains where all of them train it; what any of them adds trains.</small>}
      </div>
    </div>
  );
}
