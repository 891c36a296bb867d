import { Select } from '../../ui/select.tsx';
import { mapRole, roleOf } from './mapping-fields.ts';

const roles = [
  { value: 'user', label: 'user', note: 'who asks' },
  { value: 'assistant', label: 'assistant', note: 'who is trained' },
  { value: 'system', label: 'system', note: 'who sets the task' },
] as const;

/** Who is who in conversations that name their roles in a way of their own. */
export function RoleMapping({
  names,
  mapping,
  onChange,
}: {
  readonly names: readonly string[];
  readonly mapping: Readonly<Record<string, string>>;
  readonly onChange: (mapping: Readonly<Record<string, string>>) => void;
}) {
  if (names.length === 0) return null;
  return (
    <div className="data-roles">
      {names.map((name) => (
        <span key={name} className="row">
          <span>
            <code>{name}</code> is the
          </span>
          <Select
            small
            label={`Meaning of role ${name}`}
            value={roleOf(mapping, name) ?? null}
            choices={roles}
            onChange={(role) => onChange(mapRole(mapping, name, role))}
          />
        </span>
      ))}
    </div>
  );
}
