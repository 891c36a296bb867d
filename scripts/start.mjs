// `npm start`, readable by any Node: what is too old for the rest is told so in plain words.
if (Number(process.versions.napi) < 10) {
  console.error(
    `Node ${process.version} is too old: Condenser needs 22.18 or later, or \`npm ci\` with optional dependencies (Linux x64).`,
  );
  process.exit(1);
}
const { start } = await import('./start.ts');
await start(process.argv.slice(2));
