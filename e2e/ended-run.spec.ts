/** What is done with the model of a run that has ended. */
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { dropFile } from './pages/drop-file.ts';
import { card } from './pages/navigation.ts';
import { addSample, LONG_NAME, trainSmall } from './pages/seed-runs.ts';
import { tableRows } from './pages/tables.ts';
import { checkViews } from './pages/views.ts';
import { expect, test } from './shell.ts';

test.describe.configure({ timeout: 240_000 });

test('an ended run is asked suites of questions and exported', async ({ workbench: { page, home } }) => {
  await addSample(page);
  await trainSmall(page, { name: 'Asked', method: { name: 'full' } });
  const scores = card(page, 'Scores on questions');
  const open = () => scores.getByRole('button', { name: 'Ask a suite…' }).click();
  const longest = (tokens: string) => scores.getByRole('textbox', { name: /^Longest answer/ }).fill(tokens);
  const ask = () => scores.getByRole('button', { name: 'Ask', exact: true }).click();
  const rows = () => tableRows(scores.getByRole('region', { name: 'Scores on suites' }));
  const drop = (name: string, text: string) => dropFile(page, name, text, 'Drop to ask its questions');
  const row = (prompt: string) => `${JSON.stringify({ prompt, response: 'Answer: 4' })}\n`;
  await test.step('the rows held out', async () => {
    await open();
    await longest('4');
    await checkViews(page, 'scores form');
    const heldOut = await scores.getByRole('button', { name: /rows held out/ }).textContent();
    await ask();
    await expect(async () => expect(await rows()).toHaveLength(1)).toPass({ timeout: 60_000 });
    expect(await rows()).toMatchObject([{ Suite: 'validation', Extractor: '1' }]);
    expect(heldOut).toBe(`the ${(await rows())[0]?.['Questions']} rows held out`);
    expect((await rows())[0]?.['Accuracy (95 %)']).toMatch(/^[\d.]+ % \([\d.]+ to [\d.]+ %\)$/);
  });
  await test.step('a dropped file with a row that is no question', async () => {
    await open();
    await scores.getByRole('button', { name: 'a file' }).click();
    await drop('bad.jsonl', `${row('2 + 2?')}{"prompt": "and no answer"}\n`);
    await longest('4');
    await ask();
    const alert = scores.getByRole('alert');
    await expect(alert).toContainText('bad.jsonl was not scored', { timeout: 60_000 });
    await expect(alert).toContainText('bad.jsonl: row 2');
    await checkViews(page, 'scores failure');
  });
  await test.step('a good one with a long name', async () => {
    await open();
    await scores.getByRole('button', { name: 'a file' }).click();
    await drop(`${LONG_NAME}.jsonl`, row('2 + 2?') + row('1 + 3?'));
    await longest('4');
    await ask();
    await expect(async () => expect(await rows()).toHaveLength(2)).toPass({ timeout: 60_000 });
    expect(await rows()).toMatchObject([
      { Suite: `${LONG_NAME}.jsonl`, Questions: '2' },
      { Suite: 'validation' },
    ]);
    await expect(scores.getByRole('alert')).toHaveCount(0);
  });
  await test.step('one that is stopped keeps what was answered', async () => {
    await open();
    await scores.getByRole('button', { name: 'a file' }).click();
    const suite = path.resolve(import.meta.dirname, '../resources/sample/data/word-problems.jsonl');
    const field = scores.getByRole('textbox', { name: 'Path of a suite' });
    await field.fill(suite);
    await field.press('Enter');
    await ask();
    await expect(scores.getByText(/of 1,200 asked/)).toBeVisible({ timeout: 60_000 });
    await expect(async () => expect(await rows()).toHaveLength(3)).toPass({ timeout: 60_000 });
    await checkViews(page, 'scores running');
    await scores.getByRole('button', { name: 'Stop, keep the answers so far' }).click();
    await expect(scores.getByRole('button', { name: 'Ask a suite…' })).toBeVisible();
    expect((await rows())[0]?.['Questions']).toMatch(/^\d+ of 1,200$/);
  });
  await test.step('it is exported to a new folder, and not twice to the same', async () => {
    const exports = card(page, 'Export');
    const write = async (picture: string) => {
      await exports.getByRole('button', { name: 'Export…' }).click();
      await exports.getByRole('radio', { name: /^ONNX/ }).check();
      await expect(exports.getByRole('radio', { name: /^Adapter/ })).toBeDisabled();
      const field = exports.getByRole('textbox', { name: 'Path of a folder' });
      await field.fill(home);
      await field.press('Enter');
      await expect(exports.getByRole('button', { name: 'Choose another' })).toBeVisible();
      await checkViews(page, picture);
      await exports.getByRole('button', { name: 'Export', exact: true }).click();
    };
    await write('export form');
    await expect(exports.getByText(/run by ONNX Runtime: logits of up to/)).toBeVisible({ timeout: 60_000 });
    await expect(exports.getByText(/Asked-onnx$/)).toBeVisible();
    expect(readdirSync(path.join(home, 'Asked-onnx'))).toContain('model.onnx.data');
    await checkViews(page, 'export done');
    await write('export form again');
    await expect(exports.getByRole('alert')).toContainText('exists and is not an empty folder', {
      timeout: 60_000,
    });
    await checkViews(page, 'export failure');
  });
});
