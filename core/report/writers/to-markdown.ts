/** The report as Markdown (GitHub's tables), for notes and pull requests: words and numbers, no drawings. */
import { auditRows, auditSource } from '../audit/audit-rows.ts';
import type { ReportData, RunReport } from '../report-data.ts';
import { groupRows } from '../group-rows.ts';
import { resultRows } from '../result-rows.ts';
import { percent, significant } from '../format.ts';

/** Lays `report` out as Markdown. */
export function toMarkdown(report: ReportData): string {
  const names = report.runs.map((run) => run.name);
  const hashes = [...new Set(report.runs.flatMap((run) => Object.keys(run.facts?.hashes ?? {})))];
  const blocks = [
    `# ${text(report.title)}`,
    `Report of ${new Date(report.createdMs).toISOString()} · ${text(report.program)}`,
    '## Summary',
    list(report.summary),
    '## Results',
    table(['', ...names], resultRows(report.runs)),
    ...seedBlocks(report),
    ...usageBlocks(report),
    ...report.runs.flatMap((run) => runBlocks(run)),
    '## Configuration',
    ...(report.runs.length > 1
      ? [
          table(
            ['field', ...names],
            report.comparison.differences.map(({ field, values }) => [
              field,
              ...values.map((value) => value ?? '–'),
            ]),
          ),
        ]
      : []),
    ...report.runs.flatMap((run) => [`${text(run.name)}:`, fence(JSON.stringify(run.spec, null, 2))]),
    '## Reproduce',
    'Save the configuration of a run as `run.json`, with the paths of your copies of model and data, and run:',
    fence('condenser train run.json'),
    ...(hashes.length > 0
      ? [
          table(
            ['SHA-256 of', ...names],
            hashes.map((key) => [key, ...report.runs.map((run) => run.facts?.hashes[key] ?? '–')]),
          ),
        ]
      : []),
    '## How the numbers were counted',
    list(report.method),
  ];
  return `${blocks.join('\n\n')}\n`;
}

/** Repetitions taken together, where there are any. */
function seedBlocks({ comparison }: ReportData): string[] {
  const [head, ...rows] = groupRows(comparison);
  if (head === undefined) return [];
  return ['Over seeds, mean ± half the width of its 95 % interval (Student’s t):', table(head, rows)];
}

/** What differs in expert usage from the first run. */
function usageBlocks({ usage, runs }: ReportData): string[] {
  if (usage.length === 0) return [];
  const sentences = usage.flatMap((one, i) =>
    'absent' in one
      ? [one.absent]
      : one.words.map((words) => `${runs[i + 1]?.name ?? ''} against ${one.base.name}: ${words}`),
  );
  return ['## Expert usage, run against run', list(sentences)];
}

/** What the audit of the run found. */
function auditBlocks({ audit }: RunReport): string[] {
  if (audit === undefined) return [];
  const { heads, rows } = auditRows(audit);
  return [
    '### Audit of the routing of refused requests',
    text(auditSource(audit)),
    list(audit.summary),
    table(heads, rows),
  ];
}

function runBlocks(run: RunReport): string[] {
  const layers = run.routing?.layers ?? [];
  return [
    `## ${text(run.name)}`,
    run.findings.length === 0
      ? 'No rule found anything to report.'
      : list(run.findings.map((finding) => `${finding.text} ${finding.action}`)),
    layers.length === 0
      ? 'Expert usage was not recorded.'
      : table(
          [
            'layer',
            'Gini, first tenth',
            'Gini, last tenth',
            'entropy ÷ max',
            'max ÷ mean',
            'dead',
            'drift, nats',
            'moved',
            'condensers',
          ],
          layers.map((row) => [
            String(row.layer),
            row.firstGini.toFixed(3),
            row.lastGini.toFixed(3),
            row.entropyNormalised.toFixed(3),
            significant(row.maxOverMean, 3),
            String(row.dead),
            row.drift === undefined ? '–' : significant(row.drift, 3),
            row.moved === undefined ? '–' : percent(row.moved),
            row.condensers.join(', '),
          ]),
        ),
    ...auditBlocks(run),
  ];
}

function list(sentences: readonly string[]): string {
  return sentences.map((sentence) => `- ${text(sentence)}`).join('\n');
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.map(text).join(' | ')} |`;
  return [line(head), `|${' --- |'.repeat(head.length)}`, ...rows.map(line)].join('\n');
}

/** A code block whose fence is longer than any in `code`. */
function fence(code: string): string {
  const longest = Math.max(2, ...[...code.matchAll(/`+/g)].map(([ticks]) => ticks.length));
  const marks = '`'.repeat(longest + 1);
  return `${marks}\n${code}\n${marks}`;
}

/** Words that mean only themselves: no tags, no links, no emphasis, one line. */
function text(words: string): string {
  return words
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll(/[\\`*_{}[\]|#~]/g, String.raw`\$&`)
    .replaceAll(/\s*[\r\n]+\s*/g, ' ');
}
