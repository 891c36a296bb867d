import { expect, test } from 'vitest';
import { parametersOf } from '#worker/model/index.ts';
import { contextOf, passThrough } from './f0.fixture.ts';
import { startMethod } from './index.ts';

test('everything but the routers trains, and routing is that of the checkpoint', async () => {
  const context = contextOf(2);
  const session = startMethod('frozen-router', {}, context);
  const frozen = parametersOf(context.plan).filter((parameter) => !session.trainable(parameter));
  expect(frozen.map(({ id }) => id)).toEqual(['layers.0.router']);
  expect(await passThrough(session, context)).toEqual(
    await passThrough(startMethod('full', {}, context), context),
  );
});
