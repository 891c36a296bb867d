import { readFileSync, statSync } from 'node:fs';
import { builtinModules } from 'node:module';
import path from 'node:path';
import react from '@vitejs/plugin-react';
import { defineConfig, type EnvironmentOptions, type Plugin } from 'vite';

const root = import.meta.dirname;

/** Loaded from node_modules at run time: binaries cannot be bundled. */
const natives = ['electron', 'better-sqlite3', 'onnxruntime-node'];

/** Puts files that Node code opens as `new URL('file', import.meta.url)` beside the bundle; Vite does so for pages only. */
function filesBesideTheBundle(): Plugin {
  return {
    name: 'files-beside-the-bundle',
    enforce: 'pre',
    applyToEnvironment: (environment) => environment.config.consumer === 'server',
    transform(code, id) {
      const emit = (whole: string, name: string) => {
        const file = path.resolve(path.dirname(id), name);
        if (!statSync(file, { throwIfNoEntry: false })?.isFile()) return whole;
        const source = readFileSync(file);
        const reference = this.emitFile({ type: 'asset', fileName: path.basename(file), source });
        return `new URL(import.meta.ROLLUP_FILE_URL_${reference}, import.meta.url)`;
      };
      const replaced = code.replaceAll(/new URL\('([^':]+)', import\.meta\.url\)/g, emit);
      // No line moves, so the map of the source stands.
      return replaced === code ? undefined : { code: replaced, map: null };
    },
  };
}

/** One bundle for Node: every pure-JavaScript dependency goes in, so only `natives` ship in node_modules. */
function nodeBundle(
  name: string,
  input: Record<string, string>,
  format: 'es' | 'cjs' = 'es',
): EnvironmentOptions {
  const extension = format === 'cjs' ? 'cjs' : 'js';
  return {
    consumer: 'server',
    resolve: { conditions: ['node', 'import', 'module', 'default'], noExternal: true, external: natives },
    build: {
      outDir: path.join(root, 'out', name),
      emptyOutDir: true,
      target: 'node24',
      minify: false,
      sourcemap: true,
      chunkSizeWarningLimit: 4000,
      ssr: true,
      emitAssets: true,
      copyPublicDir: false,
      rolldownOptions: {
        input: Object.fromEntries(Object.entries(input).map(([key, file]) => [key, path.join(root, file)])),
        external: [...natives, /^electron\/.+/, ...builtinModules, /^node:/],
        output: {
          format,
          entryFileNames: `[name].${extension}`,
          chunkFileNames: `chunk-[hash].${extension}`,
        },
        platform: 'node',
      },
    },
  };
}

/** `vite build --app` builds the page and the three Node bundles into out/. */
export default defineConfig({
  root: path.join(root, 'renderer'),
  // Relative URLs: the same page is served from app://ui/ and from http://127.0.0.1:<port>/.
  base: './',
  plugins: [react(), filesBesideTheBundle()],
  build: {
    outDir: path.join(root, 'out/renderer'),
    emptyOutDir: true,
    target: 'chrome146',
    // The polyfill is an inline script, which the content security policy refuses.
    modulePreload: { polyfill: false },
    // Read from disk, not over a network.
    chunkSizeWarningLimit: 4000,
    // A data: URL would need `font-src data:`; assets stay files.
    assetsInlineLimit: 0,
  },
  environments: {
    client: {},
    main: nodeBundle('main', { index: 'electron/main.ts', 'utility-entry': 'electron/utility-entry.ts' }),
    // A sandboxed preload must be one CommonJS file.
    preload: nodeBundle('preload', { preload: 'electron/preload.ts' }, 'cjs'),
    // The training process, its threads and the command line share most of their code, so they share a folder.
    worker: nodeBundle('worker', {
      main: 'worker/main.ts',
      'heartbeat.thread': 'worker/heartbeat.thread.ts',
      'kernel.thread': 'worker/kernels/kernel.thread.ts',
      'adapter.process': 'worker/adapter.process.ts',
      'preview.process': 'worker/preview.process.ts',
      'evaluate.process': 'worker/evaluate.process.ts',
      'export.process': 'worker/export.process.ts',
      cli: 'worker/headless/cli.ts',
    }),
  },
  builder: {
    async buildApp(builder) {
      for (const environment of Object.values(builder.environments)) await builder.build(environment);
    },
  },
});
