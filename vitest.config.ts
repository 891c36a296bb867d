import path from 'node:path';
import { defineConfig } from 'vitest/config';

/** Unit tests beside their sources: `node` for everything that runs in Node, `dom` for the renderer. */
export default defineConfig({
  test: {
    passWithNoTests: false,
    pool: 'forks',
    maxWorkers: 2,
    projects: [
      {
        extends: true,
        resolve: {
          alias: { electron: path.join(import.meta.dirname, 'electron/testing/electron-stub.ts') },
        },
        test: {
          name: 'node',
          environment: 'node',
          include: ['{core,worker,electron,scripts}/**/*.test.ts'],
          testTimeout: 60_000,
          hookTimeout: 60_000,
          globalSetup: 'scripts/software-adapter.setup.ts',
        },
      },
      {
        extends: true,
        test: {
          name: 'dom',
          environment: 'happy-dom',
          include: ['renderer/**/*.test.{ts,tsx}'],
          testTimeout: 20_000,
        },
      },
    ],
  },
});
