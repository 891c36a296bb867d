/** The pages docs/cli.md and docs/data.md say what the program says: the first is written by this test (`vitest -u`). */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { format, resolveConfig } from 'prettier';
import { expect, test } from 'vitest';
import { z } from 'zod';
import { RunSpec } from '#core/contract/run-spec.ts';
import { checkMapping } from '#worker/data/index.ts';
import { commandTable } from './command-table.ts';
import { commandHelp, generalHelp } from './help.ts';

const docs = join(import.meta.dirname, '../../../docs');

interface Field {
  readonly type?: string;
  readonly title?: string;
  readonly description?: string;
  readonly unit?: string;
  readonly default?: unknown;
  readonly properties?: Readonly<Record<string, Field>>;
}

/** One line for each field of RUN.json that holds a value. */
function fieldLines(fields: Readonly<Record<string, Field>>, place = ''): string[] {
  return Object.entries(fields).flatMap(([name, field]) => {
    if (field.properties !== undefined) return fieldLines(field.properties, `${place}${name}.`);
    const standard = field.default === undefined ? '' : ` Default: \`${JSON.stringify(field.default)}\`.`;
    const unit = field.unit === undefined ? '' : ` (${field.unit})`;
    const said = [field.title && `${field.title}${unit}.`, field.description].filter(Boolean).join(' ');
    return [`- \`${place}${name}\`: ${said}${standard}`.replace(/: $/, '')];
  });
}

function manual(): Promise<string> {
  const schema = z.toJSONSchema(RunSpec, { io: 'input' }) as Field;
  const text = [
    '# Command line',
    '`npm run -s condenser -- COMMAND` in this repository. This page is made from the commands’ own help.',
    `\`\`\`text\n${generalHelp()}\`\`\``,
    '## RUN.json',
    'The document of a run, as the form writes it and `train`, `plan` and `compare` read it. Only `model`, `data.train` and `method.name` have no default. Options of methods are in [methods.md](methods.md), columns and mappings in [data.md](data.md).',
    [
      '```json',
      JSON.stringify(
        {
          version: 1,
          name: 'answers',
          model: { path: 'models/my-moe' },
          data: { train: [{ path: 'answers.jsonl', mapping: { prompt: 'question', response: 'answer' } }] },
          method: { name: 'esft', options: { share: 0.2 } },
          train: { epochs: 2, learningRate: 1e-5 },
        },
        null,
        2,
      ),
      '```',
    ].join('\n'),
    fieldLines(schema.properties ?? {}).join('\n'),
    '## Commands',
    ...commandTable.map((command) => `### ${command.name}\n\n\`\`\`text\n${commandHelp(command)}\`\`\``),
  ].join('\n\n');
  return resolveConfig(join(docs, 'cli.md')).then((config) =>
    format(text, { ...config, parser: 'markdown' }),
  );
}

test('docs/cli.md is what the commands say of themselves', async () => {
  await expect(await manual()).toMatchFileSnapshot(join(docs, 'cli.md'));
});

test('docs/data.md names every field of a mapping', () => {
  const page = readFileSync(join(docs, 'data.md'), 'utf8');
  let hint = '';
  try {
    checkMapping({ nothing: 'x' }, ['x'], 'rows.csv');
  } catch (error) {
    ({ hint } = error as { hint: string });
  }
  const fields = hint.replace('Known fields: ', '').replace('.', '').split(', ').slice(0, -1);
  expect(fields).toContain('messages');
  for (const field of fields) expect(page).toContain(`\`${field}\``);
});
