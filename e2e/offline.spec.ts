/** "Try the sample", and that nothing of it leaves the machine. */
import type { Page } from '@playwright/test';
import { goTo } from './pages/navigation.ts';
import { PREVIEW_HAS_NO_SCRIPTS } from './pages/report-page.ts';
import { expectState, expectStepsAbove, shownRun } from './pages/run-page.ts';
import { tableRows } from './pages/tables.ts';
import { expect, test } from './shell.ts';

const OUTSIDE = 'https://outside.invalid/';

test.describe.configure({ timeout: 240_000 });

test.describe('the sample', () => {
  test.use({ expectedErrors: [PREVIEW_HAS_NO_SCRIPTS] });

  test('both runs are queued, the first one trains, and no request leaves the machine', async ({
    workbench: { page, kind },
  }) => {
    const addresses = watchRequests(page);
    await noteViolations(page);
    await test.step('both runs are queued and the first one trains', async () => {
      await page.getByRole('button', { name: 'Try the sample' }).click();
      await expect(page.getByRole('heading', { level: 1, name: 'Full fine-tuning' })).toBeVisible();
      await expectState(page, 'running');
      await expectStepsAbove(page, 1);
    });
    const first = shownRun(page);
    await test.step('the second one waits', async () => {
      await goTo(page, 'Runs');
      const states = async () =>
        (await tableRows(page.getByRole('region', { name: 'Runs', exact: true }))).map(({ Run, State }) => [
          Run,
          State?.replace(/^\W+/, ''),
        ]);
      await expect.poll(states).toEqual(
        expect.arrayContaining([
          ['Expert condensers', 'queued'],
          ['Full fine-tuning', 'running'],
        ]),
      );
    });
    await test.step('every page, with the report of the run', async () => {
      for (const title of ['Models', 'Data', 'Compare', 'Report', 'Home']) await goTo(page, title);
      await goTo(page, 'Report');
      await page.getByRole('checkbox', { name: /^Full fine-tuning/ }).check();
      await expect(page.frameLocator('iframe').getByRole('heading', { name: 'Summary' })).toBeVisible();
    });
    await test.step('stop both', async () => {
      await goTo(page, 'Runs');
      // The waiting one first: it would start as soon as the other one ends.
      await page.getByRole('link', { name: 'Expert condensers' }).click();
      await stop(page, 'Stop and discard');
      await goTo(page, 'Runs');
      await page.getByRole('link', { name: 'Full fine-tuning' }).click();
      expect(shownRun(page)).toBe(first);
      await stop(page, 'Stop and keep');
      await expect(page.getByText(/last checkpoint step \d/)).toBeVisible();
    });
    await test.step('nothing was asked of anyone else', async () => {
      await goTo(page, 'Settings');
      await expect(page.getByText('Network requests since start')).toBeVisible();
      await expect(page.getByRole('definition').filter({ hasText: 'Nothing left this machine' })).toHaveText(
        /^0 /,
      );
      expect(await violations(page)).toEqual([]);
      const own = new URL(page.url());
      expect(addresses.length).toBeGreaterThan(kind === 'node' ? 1 : 0);
      expect(addresses.filter((address) => !isOwn(address, own))).toEqual([]);
    });
  });
});

test.describe('the watch itself', () => {
  test.use({ expectedErrors: [/Content Security Policy|outside\.invalid/] });

  test('a request that the page would send elsewhere is refused and noticed', async ({
    workbench: { page },
  }) => {
    await noteViolations(page);
    const outcome = await page.evaluate(
      (url) =>
        fetch(url).then(
          () => 'sent',
          () => 'refused',
        ),
      OUTSIDE,
    );
    expect(outcome).toBe('refused');
    await expect.poll(() => violations(page)).toEqual([`connect-src ${OUTSIDE}`]);
  });
});

async function stop(page: Page, how: string): Promise<void> {
  await page.getByRole('button', { name: 'Stop…' }).click();
  await page.getByRole('dialog').getByRole('button', { name: how }).click();
  await expectState(page, 'stopped');
}

/** Every address asked for from now on, those loaded again included, and every socket opened. */
function watchRequests(page: Page): readonly string[] {
  const addresses: string[] = [];
  page.context().on('request', (request) => addresses.push(request.url()));
  page.on('websocket', (socket) => addresses.push(socket.url()));
  return addresses;
}

/** Whether `address` belongs to the host that served the page at `own`, or to the page's own memory. */
function isOwn(address: string, own: URL): boolean {
  const { protocol, host } = new URL(address);
  return ['data:', 'blob:', 'about:'].includes(protocol) || host === own.host;
}

/** Loads the page again and notes from its start what its content security policy refuses. */
async function noteViolations(page: Page): Promise<void> {
  await page.addInitScript(() => {
    const noted: string[] = [];
    document.addEventListener('securitypolicyviolation', (event) => {
      noted.push(`${event.effectiveDirective} ${event.blockedURI}`);
    });
    Object.assign(window, { notedViolations: noted });
  });
  await page.reload();
  await expect(page.getByRole('button', { name: 'Try the sample' })).toBeEnabled();
}

function violations(page: Page): Promise<unknown> {
  return page.evaluate(() => (window as unknown as { notedViolations: string[] }).notedViolations);
}
