import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { layoutOf } from '../container/layout.ts';
import { openLab } from '../testing/sandbox-lab.ts';
import { runStep } from '../testing/step-lab.ts';
import { prepareSurroundings } from './surroundings.ts';

const PEM = '-----BEGIN CERTIFICATE-----\nMIIBdarkroom\n-----END CERTIFICATE-----\n';

test('steps find the operator’s variables and certificates, and no layer has them', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'darkroom-ca-'));
  onTestFinished(() => rm(dir, { recursive: true }));
  const caFile = join(dir, 'ca.pem');
  await writeFile(caFile, PEM);
  const lab = await openLab(undefined, {
    stepSettings: { caFiles: [caFile], stepEnvironment: { HTTPS_PROXY: 'http://proxy', PIP_CERT: '/mine' } },
  });
  onTestFinished(() => lab.close());
  const { stdout, upper } = await runStep(
    lab,
    'echo $HTTPS_PROXY $CURL_CA_BUNDLE $PIP_CERT; grep -c MIIBdarkroom $SSL_CERT_FILE; cat $APT_CONFIG',
    { env: { CURL_CA_BUNDLE: '/own' } },
  );
  expect(stdout).toBe('http://proxy /own /mine\n1\nAcquire::https::CaInfo "/.darkroom/ca-certificates.crt";\n');
  expect(await readdir(upper)).toEqual([]);
  if (existsSync('/etc/ssl/certs/ca-certificates.crt')) {
    const all = await runStep(lab, 'grep -c BEGIN $SSL_CERT_FILE');
    expect(Number(all.stdout)).toBeGreaterThan(10);
  }
  await lab.start('box');
  expect((await lab.sh('box', 'ls /.darkroom; echo $HTTPS_PROXY')).stdout).toBe('init\ntini\n\n');
});

test('a certificate file that is not there is named', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'darkroom-ca-'));
  onTestFinished(() => rm(dir, { recursive: true }));
  const layout = layoutOf(dir, join(dir, 'run'));
  await mkdir(layout.toolsDir, { recursive: true });
  await writeFile(join(layout.toolsDir, 'tini'), '');
  const options = { environment: {}, caFiles: ['/nowhere/ca.pem'] };
  await expect(prepareSurroundings(layout, options)).rejects.toThrow('/nowhere/ca.pem (builds.caFiles)');
});
