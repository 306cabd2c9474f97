// The house: imports only go down.
const floor = (name, from, to) => ({
  name,
  severity: 'error',
  from: { path: `^packages/server/src/(${from})/` },
  to: { path: `^packages/server/src/(${to})/` },
});

module.exports = {
  forbidden: [
    { name: 'no-cycles', severity: 'error', from: {}, to: { circular: true } },
    floor('platform-is-the-ground', 'platform', 'http|snapshots|sandboxes|tenancy|lifecycle|images|runtime'),
    floor(
      'images-and-runtime-know-no-rules',
      'images|runtime',
      'http|snapshots|sandboxes|tenancy|lifecycle|platform/db',
    ),
    floor('rules-know-no-http', 'snapshots|sandboxes|tenancy|lifecycle', 'http'),
    floor('images-and-runtime-are-neighbours', 'images', 'runtime'),
    floor('runtime-and-images-are-neighbours', 'runtime', 'images'),
  ],
  options: { tsPreCompilationDeps: true, doNotFollow: { path: 'node_modules' } },
};
