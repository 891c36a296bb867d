import { cleanup, fireEvent, render, screen } from '@testing-library/react';
import { afterEach, expect, test } from 'vitest';
import { type Column, DataTable, sortRows, tableText } from './data-table.tsx';

afterEach(cleanup);

interface Row {
  readonly name: string;
  readonly loss: number | undefined;
}
const rows: readonly Row[] = [
  { name: 'run 10', loss: 2 },
  { name: 'run 9', loss: undefined },
  { name: 'a "b", c|d', loss: 0.5 },
];
const name: Column<Row> = { key: 'name', title: 'Run', text: true, value: (row) => row.name };
const loss: Column<Row> = { key: 'loss', title: 'Loss', value: (row) => row.loss };
const names = (sorted: readonly Row[]) => sorted.map((row) => row.name);

test('numbers sort as numbers, names as people count, absent values last either way', () => {
  expect(names(sortRows(rows, loss, true))).toEqual(['run 10', 'a "b", c|d', 'run 9']);
  expect(names(sortRows(rows, loss, false))).toEqual(['a "b", c|d', 'run 10', 'run 9']);
  expect(names(sortRows(rows, name, false))).toEqual(['a "b", c|d', 'run 9', 'run 10']);
});

test('copied as CSV and Markdown, with what is absent left empty', () => {
  expect(tableText([name, loss], rows, 'csv')).toBe('Run,Loss\nrun 10,2\nrun 9,\n"a ""b"", c|d",0.5\n');
  expect(tableText([name, loss], rows.slice(1), 'markdown')).toBe(
    '| Run | Loss |\n| --- | ---: |\n| run 9 |  |\n| a "b", c\\|d | 0.5 |\n',
  );
  const rounded = { ...loss, copied: (row: Row) => row.loss?.toFixed(1) };
  expect(tableText([rounded], rows, 'csv')).toBe('Loss\n2.0\n\n0.5\n');
});

test('a head sorts its column and says in which direction', () => {
  render(<DataTable caption="Runs" columns={[name, loss]} rows={rows} rowKey={(row) => row.name} />);
  const head = screen.getByRole('columnheader', { name: /Loss/ });
  expect(head.getAttribute('aria-sort')).toBeNull();
  fireEvent.click(screen.getByRole('button', { name: /Loss/ }));
  expect(head.getAttribute('aria-sort')).toBe('descending');
  expect(screen.getAllByRole('rowheader').map((cell) => cell.textContent)).toEqual([
    'run 10',
    'a "b", c|d',
    'run 9',
  ]);
  fireEvent.click(screen.getByRole('button', { name: /Loss/ }));
  expect(head.getAttribute('aria-sort')).toBe('ascending');
});
