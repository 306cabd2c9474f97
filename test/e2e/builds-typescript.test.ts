import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { type BuildSdk, buildSdks, type SdkConnection } from '../support/build-sdks.ts';
import { type Darkroom, jsonOf, startDarkroom } from '../support/darkroom.ts';
import { expectSnapshotDto } from '../support/snapshot-dto.ts';
import { writeTinyWheel } from '../support/tiny-wheel.ts';

/** Every method of the official `Image`, built and then used in a sandbox, by the three packages as they are published. */
let darkroom: Darkroom;
let workspace: string;
const connection = (): SdkConnection => ({ apiKey: darkroom.apiKey, apiUrl: `${darkroom.url}/api` });
const fromBase = () => inject('baseImage');
const withoutIndex = { findLinks: ['/wheels'], extraOptions: '--no-index --no-cache-dir --root-user-action=ignore' };

beforeAll(async () => {
  workspace = await mkdtemp(join(tmpdir(), 'darkroom-builds-'));
  await writeFile(join(workspace, 'note.txt'), 'a note\n');
  const app = join(workspace, 'app');
  await mkdir(join(app, 'deep', 'empty'), { recursive: true });
  await writeFile(join(app, 'deep', 'größe.txt'), 'deep\n');
  await writeFile(join(app, 'run.sh'), '#!/bin/sh\necho it runs\n', { mode: 0o755 });
  await symlink('run.sh', join(app, 'link'));

  await mkdir(join(workspace, 'wheels'));
  for (const name of ['alpha', 'beta', 'gamma'])
    await writeTinyWheel(join(workspace, 'wheels'), name, `word of ${name}`);
  await writeFile(join(workspace, 'requirements.txt'), '# what it needs\nbeta==1.0\n');
  const project = '[project]\nname = "it"\nversion = "1"\ndependencies = ["alpha"]\n';
  const optional = '[project.optional-dependencies]\nmore = ["gamma>=0.5"]\n';
  await writeFile(join(workspace, 'pyproject.toml'), project + optional);

  const site = join(workspace, 'site');
  await mkdir(join(site, 'pages'), { recursive: true });
  await writeFile(join(site, 'pages', 'index.html'), 'index\n');
  for (const name of ['a.cfg', 'b.cfg']) await writeFile(join(site, name), `${name}\n`);
  const dockerfile = [
    `FROM ${fromBase()} AS pages`,
    'COPY pages /pages',
    'RUN sed -i s/index/built/ /pages/index.html',
    `FROM ${fromBase()}`,
    'ARG NAME=world',
    'WORKDIR /site',
    'COPY --chown=1000:1000 --chmod=640 a.cfg b.cfg conf/',
    'COPY --from=pages /pages/index.html .',
    'RUN echo "hello $NAME" > greeting \\',
    '    && ls -ln conf | wc -l > lines',
    'CMD ["sleep", "infinity"]',
  ];
  await writeFile(join(site, 'Dockerfile'), dockerfile.join('\n'));
  darkroom = await startDarkroom({ config: { registries: { mirrors: { 'docker.io': [inject('registryUrl')] } } } });
});

afterAll(async () => {
  await darkroom?.destroy();
  await rm(workspace, { recursive: true, force: true });
});

/** What a command says in a new sandbox of the snapshot. */
async function inSandboxOf(sdk: BuildSdk, snapshot: string, command: string): Promise<string[]> {
  const sandbox = await sdk.createSandbox(connection(), { snapshot });
  try {
    const { exitCode, result } = await sandbox.process.executeCommand(command);
    expect(exitCode, result).toBe(0);
    return result.trimEnd().split('\n');
  } finally {
    await sandbox.delete();
  }
}

const lines = (chunks: readonly string[]) => chunks.join('\n').split('\n');

describe.concurrent.each(buildSdks.map((sdk) => [sdk.label, sdk] as const))('%s', (label, sdk) => {
  const name = (what: string) => `${label.replace(/[^a-z0-9.]+/g, '-').replace(/^-/, '')}/${what}`;
  const base = () => sdk.Image.base(fromBase());

  test('files, commands, variables, directory and start of an image are in its sandboxes', async () => {
    const image = base()
      .env({ PLAIN: 'yes', SPACED: `it's "a" day`, DOLLAR: '$HOME & co', URL: 'https://x.test/y?a=b#c', EMPTY: '' })
      .workdir('/srv/the app')
      .addLocalFile(join(workspace, 'note.txt'), '/srv/copied.txt')
      .addLocalFile(join(workspace, 'note.txt'), '/srv/in/')
      .addLocalDir(join(workspace, 'app'), '/srv/app')
      .runCommands('printf "%s\\n" "two  blanks" > string; pwd > where', ['sh', '-c', `echo "q" 's' > /srv/list`])
      .dockerfileCommands(
        ['COPY pages/index.html /srv/', 'RUN <<EOF', 'echo from a heredoc > /srv/heredoc', 'EOF'],
        join(workspace, 'site'),
      )
      .cmd(['never', 'run'])
      .entrypoint(['sh', '-c', 'echo $0 $1 > /tmp/started; exec sleep infinity', 'zero', 'one']);
    const snapshot = await sdk.createSnapshot(connection(), { name: name('everything'), image });
    expectSnapshotDto(snapshot);
    expect(snapshot).toMatchObject({ state: 'active', name: name('everything') });
    expect(snapshot.entrypoint?.slice(0, 2)).toEqual(['sh', '-c']);
    expect(snapshot.size).toBeGreaterThan(0.05);
    const seen = await inSandboxOf(
      sdk,
      snapshot.name,
      [
        'printf "%s|%s|%s|%s|%s\\n" "$PLAIN" "$SPACED" "$DOLLAR" "$URL" "$(printenv EMPTY | wc -l)"; pwd',
        'cd /srv; cat copied.txt in/note.txt "the app/string" "the app/where" list index.html heredoc',
        'cat app/deep/größe.txt; app/link; readlink app/link; stat -c "%a %u:%g %F" app/run.sh app/deep/empty',
        'until [ -s /tmp/started ]; do sleep 0.05; done; cat /tmp/started',
      ].join('; '),
    );
    expect(seen).toEqual([
      `yes|it's "a" day|$HOME & co|https://x.test/y?a=b#c|1`,
      '/srv/the app',
      ...['a note', 'a note', 'two  blanks', '/srv/the app', `"q" 's'`, 'index', 'from a heredoc'],
      ...['deep', 'it runs', 'run.sh', '755 0:0 regular file', '755 0:0 directory'],
      'zero one',
    ]);
  });

  test('packages come by pip: by name, from requirements and from a pyproject', async () => {
    const image = base()
      .addLocalDir(join(workspace, 'wheels'), '/wheels')
      .pipInstall([], withoutIndex)
      .pipInstall(['alpha>=0.9', 'beta'], withoutIndex)
      .runCommands('python -m pip uninstall -q -y alpha beta --root-user-action=ignore')
      .pipInstallFromRequirements(join(workspace, 'requirements.txt'), withoutIndex)
      .pipInstallFromPyproject(join(workspace, 'pyproject.toml'), { ...withoutIndex, optionalDependencies: ['more'] });
    await sdk.createSnapshot(connection(), { name: name('pip'), image });
    const print = 'import alpha, beta, gamma; print(alpha.word, beta.word, gamma.word, sep=chr(10))';
    expect(await inSandboxOf(sdk, name('pip'), `python -c '${print}'`)).toEqual([
      'word of alpha',
      'word of beta',
      'word of gamma',
    ]);
  });

  test('a Dockerfile is built with the files beside it', async () => {
    const image = sdk.Image.fromDockerfile(join(workspace, 'site', 'Dockerfile'));
    const snapshot = await sdk.createSnapshot(connection(), { name: name('dockerfile'), image });
    expect(snapshot).toMatchObject({ state: 'active' });
    const command = 'pwd; cat greeting lines index.html; stat -c "%a %u:%g" conf/a.cfg; cat conf/*';
    expect(await inSandboxOf(sdk, name('dockerfile'), command)).toEqual([
      ...['/site', 'hello world', '3', 'built', '640 1000:1000', 'a.cfg', 'b.cfg'],
    ]);
  });

  test('logs arrive in order and while it builds', async () => {
    const chunks: string[] = [];
    let stateAtFirst: Promise<string> | undefined;
    const snapshotName = name('logs');
    const onLogs = (chunk: string) => {
      chunks.push(chunk);
      if (lines(chunks).some((line) => line.endsWith('line 1')))
        stateAtFirst ??= jsonOf<{ state: string }>(darkroom.api(`/snapshots/${encodeURIComponent(snapshotName)}`)).then(
          ({ state }) => state,
        );
    };
    const image = base().runCommands(
      `echo ${label} line 1; sleep 1.5; for i in 2 3 4 5; do echo line $i; done; echo line 6 >&2`,
    );
    await sdk.createSnapshot(connection(), { name: snapshotName, image }, { onLogs, timeout: 60 });
    const all = lines(chunks);
    expect(all[0]).toBe(`Creating snapshot ${snapshotName} (building)`);
    expect(all.at(-1)).toBe(`Created snapshot ${snapshotName} (active)`);
    expect(all.map((line) => /line (\d)$/.exec(line)?.[1]).filter(Boolean)).toEqual(['1', '2', '3', '4', '5', '6']);
    expect(await stateAtFirst).toBe('building');
  });

  test('a step that fails says which one, what it ran, its last words and what to do', async () => {
    const chunks: string[] = [];
    const image = base().runCommands(`echo before for ${label}`, 'echo last words >&2; no-such-program --flag');
    const failure = await sdk
      .createSnapshot(connection(), { name: name('fails'), image }, { onLogs: (chunk) => chunks.push(chunk) })
      .catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(sdk.DaytonaError);
    const text = String(failure);
    expect(text).toContain(`Failed to create snapshot. Name: ${name('fails')} Reason: `);
    for (const said of ['last words', 'no-such-program --flag', '127', 'not found']) expect(text).toContain(said);
    expect(lines(chunks)).toContain(`before for ${label}`);
    expect(lines(chunks)).toContain('last words');
  });

  test('what cannot be built is refused or fails with its line', async () => {
    const image = base().dockerfileCommands(['RUM echo typo']);
    const failure = await sdk
      .createSnapshot(connection(), { name: name('typo'), image })
      .catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(sdk.DaytonaError);
    expect(String(failure)).toMatch(/line 2.*RUM|RUM.*line 2/is);
  });

  test('a sandbox is made from an image, with the logs of its build', async () => {
    const chunks: string[] = [];
    const image = base().runCommands(`echo for ${label} > /built; echo building it`);
    const sandbox = await sdk.createSandbox(
      connection(),
      { image },
      { onSnapshotCreateLogs: (chunk) => chunks.push(chunk), timeout: 60 },
    );
    try {
      expect((await sandbox.process.executeCommand('cat /built')).result).toBe(`for ${label}\n`);
      expect(lines(chunks)).toContain('building it');
    } finally {
      await sandbox.delete();
    }
  });

  test('a sandbox is made from the name of an image', async () => {
    const sandbox = await sdk.createSandbox(connection(), { image: fromBase() }, { timeout: 60 });
    try {
      expect((await sandbox.process.executeCommand('python -c "print(6 * 7)"')).result).toBe('42\n');
    } finally {
      await sandbox.delete();
    }
  });
});
