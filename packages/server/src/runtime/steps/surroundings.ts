import { copyFile, link, mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoOf, invalidRequest } from '../../platform/errors.ts';
import { TOOLS_TARGET } from '../container/container-config.ts';
import type { Layout } from '../container/layout.ts';
import { stepLayout } from './step-layout.ts';

/** What the machine's operator gives to every step, and what is in no layer. */
export interface StepSurroundings {
  /** Weaker than what the step says itself. */
  env: Readonly<Record<string, string>>;
}

export interface SurroundingsOptions {
  /** Proxies, for example. */
  environment: Readonly<Record<string, string>>;
  /** PEM files. */
  caFiles: readonly string[];
}

/** Where administrators put certificates of their own, on Debian and its like. */
const LOCAL_CAS = '/usr/local/share/ca-certificates';
/** All that the host trusts: Debian, Alpine and Arch; Red Hat; SUSE. */
const HOST_BUNDLES = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/ssl/ca-bundle.pem',
];
const BUNDLE = 'ca-certificates.crt';
const APT_CONFIG = 'apt.conf';
/** What OpenSSL, curl, requests, pip, Node and git look at. */
const BUNDLE_VARIABLES = [
  'SSL_CERT_FILE',
  'CURL_CA_BUNDLE',
  'REQUESTS_CA_BUNDLE',
  'PIP_CERT',
  'NODE_EXTRA_CA_CERTS',
  'GIT_SSL_CAINFO',
];

/**
 * Fills the directory that steps see at `/.darkroom`. Where the host trusts more than the world does, all that it trusts is there in one file,
 * and variables tell programs of it: an image has certificates of its own, which are never touched.
 */
export async function prepareSurroundings(layout: Layout, options: SurroundingsOptions): Promise<StepSurroundings> {
  const { toolsDir } = stepLayout(layout);
  await mkdir(toolsDir, { recursive: true, mode: 0o755 });
  await replace(join(toolsDir, 'tini'), (path) => linkOrCopy(join(layout.toolsDir, 'tini'), path));
  const extra = [...(await localCas()), ...(await Promise.all(options.caFiles.map(readCa)))];
  if (extra.length === 0) {
    for (const name of [BUNDLE, APT_CONFIG]) await rm(join(toolsDir, name), { force: true });
    return { env: { ...options.environment } };
  }
  const bundle = [await hostBundle(), ...extra].map((text) => `${text.trimEnd()}\n`).join('');
  await replace(join(toolsDir, BUNDLE), (path) => writeFile(path, bundle, { mode: 0o644 }));
  const seen = `${TOOLS_TARGET}/${BUNDLE}`;
  const apt = `Acquire::https::CaInfo "${seen}";\n`;
  await replace(join(toolsDir, APT_CONFIG), (path) => writeFile(path, apt, { mode: 0o644 }));
  return {
    env: {
      ...Object.fromEntries(BUNDLE_VARIABLES.map((name) => [name, seen])),
      APT_CONFIG: `${TOOLS_TARGET}/${APT_CONFIG}`,
      ...options.environment,
    },
  };
}

/** By a rename: steps of an earlier server may still see it. */
async function replace(path: string, make: (path: string) => Promise<unknown>): Promise<void> {
  const draft = `${path}.new`;
  await rm(draft, { force: true });
  await make(draft);
  await rename(draft, path);
}

async function linkOrCopy(source: string, target: string): Promise<void> {
  try {
    await link(source, target);
  } catch (error) {
    if (errnoOf(error) !== 'EMLINK' && errnoOf(error) !== 'EPERM' && errnoOf(error) !== 'EXDEV') throw error;
    await copyFile(source, target);
  }
}

async function localCas(): Promise<string[]> {
  try {
    const entries = await readdir(LOCAL_CAS, { recursive: true, withFileTypes: true });
    const files = entries.filter((entry) => !entry.isDirectory() && entry.name.endsWith('.crt'));
    const paths = files.map((entry) => join(entry.parentPath, entry.name)).sort();
    return await Promise.all(paths.map((path) => readFile(path, 'utf8')));
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [];
    throw error;
  }
}

async function readCa(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    throw invalidRequest(`the CA certificate ${path} (builds.caFiles) cannot be read`, { cause });
  }
}

async function hostBundle(): Promise<string> {
  for (const path of HOST_BUNDLES) {
    try {
      return await readFile(path, 'utf8');
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT') throw error;
    }
  }
  return '';
}
