/** Turns a schema violation into a sentence a person can act on. */
import { z } from 'zod';

/** Edit distance (insert, delete, replace), for "did you mean". */
function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const current = [i];
    for (let j = 1; j <= b.length; j++) {
      const replace = (previous[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      current[j] = Math.min(replace, (previous[j] ?? 0) + 1, (current[j - 1] ?? 0) + 1);
    }
    previous = current;
  }
  return previous[b.length] ?? 0;
}

/** The candidate nearest to `name`, ignoring case, or undefined when none is similar. */
export function nearest(name: string, candidates: readonly string[]): string | undefined {
  const scored = candidates
    .map((candidate) => ({ candidate, d: editDistance(name.toLowerCase(), candidate.toLowerCase()) }))
    .sort((a, b) => a.d - b.d);
  const best = scored[0];
  return best !== undefined && best.d <= Math.max(2, name.length / 2) ? best.candidate : undefined;
}

/** Follows wrappers (default, optional, union …) and a path down to the object schemas it may end at. */
function objectsAt(schema: z.ZodType, path: readonly PropertyKey[]): z.ZodObject[] {
  if (
    schema instanceof z.ZodDefault ||
    schema instanceof z.ZodPrefault ||
    schema instanceof z.ZodOptional ||
    schema instanceof z.ZodNullable
  ) {
    return objectsAt(schema.unwrap() as z.ZodType, path);
  }
  if (schema instanceof z.ZodUnion) {
    return schema.options.flatMap((option) => objectsAt(option as z.ZodType, path));
  }
  const [head, ...rest] = path;
  if (schema instanceof z.ZodObject) {
    if (head === undefined) return [schema];
    const child = schema.shape[String(head)] as z.ZodType | undefined;
    return child === undefined ? [] : objectsAt(child, rest);
  }
  if (schema instanceof z.ZodArray && head !== undefined) return objectsAt(schema.element as z.ZodType, rest);
  return [];
}

/** One sentence for all issues of `error`, each with its field path; unknown fields get the nearest known one. */
export function explainIssues(error: z.ZodError, schema: z.ZodType): string {
  const sentences = error.issues.map((issue) => {
    const at = issue.path.map(String).join('.');
    if (issue.code === 'unrecognized_keys') {
      const known = objectsAt(schema, issue.path).flatMap((object) => Object.keys(object.shape));
      return issue.keys
        .map((key) => {
          const near = nearest(key, known);
          const where = at === '' ? key : `${at}.${key}`;
          return near === undefined
            ? `unknown field ${where} (known: ${known.join(', ')})`
            : `unknown field ${where} (did you mean ${near}?)`;
        })
        .join('; ');
    }
    return at === '' ? issue.message : `${at}: ${issue.message}`;
  });
  return sentences.join('; ');
}
