/** HTML and SVG as tagged templates: every value is escaped unless it is markup itself. */

/** Text that is already safe to put in a document. */
export interface Markup {
  readonly markup: string;
}

type Part = Markup | string | number | null | undefined | false | readonly Part[];

/** Builds markup; strings and numbers are escaped, lists joined, `null`, `undefined` and `false` leave nothing. */
export function html(strings: TemplateStringsArray, ...values: readonly Part[]): Markup {
  // The indentation of the source would be most of a large table.
  const [head = '', ...tails] = strings.map((text) => text.replaceAll(/\s*\n\s*/g, '\n'));
  return { markup: head + tails.map((tail, i) => render(values[i]) + tail).join('') };
}

/** `text` safe in content and in quoted attributes. */
function escaped(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll("'", '&#39;');
}

function render(value: Part): string {
  if (value === null || value === undefined || value === false) return '';
  if (typeof value === 'number') return String(value);
  if (typeof value === 'string') return escaped(value);
  return 'markup' in value ? value.markup : value.map(render).join('');
}
