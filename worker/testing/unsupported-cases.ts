/**
 * Golden cases that are not supported yet, by what is missing. The test of all cases fails for a case that is listed and
 * runs, so that a line leaves this file as soon as its feature is there.
 */
const casesByLack: Readonly<Record<string, readonly string[]>> = {};

/** Case → what is missing. */
export const unsupportedCases: ReadonlyMap<string, string> = new Map(
  Object.entries(casesByLack).flatMap(([lack, cases]) => cases.map((name): [string, string] => [name, lack])),
);
