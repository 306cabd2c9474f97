import { readFileSync } from 'node:fs';
import { parseDocument } from 'yaml';
import { z } from 'zod';
import { type Config, configSchema } from './config-schema.ts';
import { listSettings, nearestName, type Setting, unwrap } from './config-settings.ts';
import { invalidRequest, messageOf } from './errors.ts';
import { proxyVariables } from './proxy-variables.ts';

export type { Config } from './config-schema.ts';

export interface LoadConfigOptions {
  /** From the command line. */
  flags: { stateDir?: string; listen?: string; tls?: boolean; configFile?: string };
  env: NodeJS.ProcessEnv;
}

/** Variables of this prefix that are not settings: of the command line client, of tests, and the file's own name. */
const OTHER_VARIABLES: ReadonlySet<string> = new Set(['DARKROOM_CONFIG', 'DARKROOM_API_KEY', 'DARKROOM_API_URL']);
const TEST_PREFIX = 'DARKROOM_TEST_';
const FLAGS = { stateDir: '--state-dir', listen: '--listen' } as const;

/** Not shown in messages; the URL of a database or a proxy has a password in it. */
const SECRETS: ReadonlySet<string> = new Set(['database.url', 'objectStore.secretAccessKey', 'builds.stepEnvironment']);

/** A value and where it came from, for messages. */
interface Source {
  path: readonly string[];
  value: unknown;
  from: string;
}

/**
 * Puts the configuration together: command line over environment over file over defaults. Raises `invalid_request` with
 * every mistake at once, each with the setting's name, where it came from, and what is allowed.
 */
export function loadConfig({ flags, env }: LoadConfigOptions): Config {
  const problems: string[] = [];
  const file = flags.configFile ?? (env.DARKROOM_CONFIG || undefined);
  const settings = listSettings();
  const sources = [
    ...(file === undefined ? [] : fromFile(file)),
    ...fromEnvironment(settings, env, problems),
    ...fromFlags(flags),
  ];
  const raw = {};
  for (const { path, value } of sources) assign(raw, path, value);
  const result = configSchema.safeParse(raw);
  if (!result.success) problems.push(...result.error.issues.flatMap((issue) => explain(issue, sources, settings)));
  if (result.success && problems.length === 0) return withProxies(result.data, env);
  throw invalidRequest(`The configuration is not valid:\n${problems.map((problem) => `  ${problem}`).join('\n')}`, {
    hint: 'docs/configuration.md has every setting.',
  });
}

function withProxies(config: Config, env: NodeJS.ProcessEnv): Config {
  const { builds } = config;
  return { ...config, builds: { ...builds, stepEnvironment: { ...proxyVariables(env), ...builds.stepEnvironment } } };
}

/** `127.0.0.1:3986` or `[::1]:3986` in its parts. */
export function parseListen(listen: string): { host: string; port: number } {
  const at = listen.lastIndexOf(':');
  return { host: listen.slice(0, at).replace(/^\[|\]$/g, ''), port: Number(listen.slice(at + 1)) };
}

function fromFile(file: string): Source[] {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw invalidRequest(`The configuration file cannot be read: ${messageOf(error)}`, { cause: error });
  }
  const document = parseDocument(text);
  const [mistake] = document.errors;
  if (mistake !== undefined)
    throw invalidRequest(`The configuration file ${file} is not YAML: ${mistake.message.trim()}`);
  const content: unknown = document.toJS() ?? {};
  if (!isRecord(content)) throw invalidRequest(`The configuration file ${file} must be a map of settings.`);
  return leavesOf(content, []).map((leaf) => ({ ...leaf, from: file }));
}

/** Groups are taken apart so that each setting of one can come from another place. */
function leavesOf(value: Record<string, unknown>, path: readonly string[]): Omit<Source, 'from'>[] {
  return Object.entries(value).flatMap(([key, inner]) => {
    const here = [...path, key];
    return isRecord(inner) && isGroup(here) ? leavesOf(inner, here) : [{ path: here, value: inner }];
  });
}

function isGroup(path: readonly string[]): boolean {
  return listSettings().some(
    (setting) => setting.path.length > path.length && path.every((part, i) => setting.path[i] === part),
  );
}

function fromEnvironment(settings: readonly Setting[], env: NodeJS.ProcessEnv, problems: string[]): Source[] {
  const byVariable = new Map(settings.map((setting) => [setting.variable, setting]));
  const databaseUrl = byVariable.get('DARKROOM_DATABASE_URL');
  const sources: Source[] = [];
  for (const variable of ['DATABASE_URL', ...Object.keys(env).sort()]) {
    const text = env[variable];
    // An empty variable is how many tools write one that is not set.
    if (text === undefined || text === '') continue;
    const setting = variable === 'DATABASE_URL' ? databaseUrl : byVariable.get(variable);
    if (setting !== undefined) {
      sources.push({ path: setting.path, value: parseVariable(setting.schema, text), from: variable });
    } else if (
      variable.startsWith('DARKROOM_') &&
      !OTHER_VARIABLES.has(variable) &&
      !variable.startsWith(TEST_PREFIX)
    ) {
      problems.push(
        `${variable} (environment): there is no such setting${suggestion(variable, [...byVariable.keys()])}`,
      );
    }
  }
  return sources;
}

/** What cannot be read as the setting's type is left as text, for the schema to say what it wants. */
function parseVariable(schema: z.ZodType, text: string): unknown {
  const type = unwrap(schema);
  if (type instanceof z.ZodNumber) return /^[+-]?[\d.]+(e[+-]?\d+)?$/i.test(text) ? Number(text) : text;
  if (type instanceof z.ZodBoolean) return text === 'true' ? true : text === 'false' ? false : text;
  if (type instanceof z.ZodArray || type instanceof z.ZodRecord) {
    try {
      return JSON.parse(text);
    } catch {
      return text;
    }
  }
  return text;
}

function fromFlags(flags: LoadConfigOptions['flags']): Source[] {
  const given = (['stateDir', 'listen'] as const).flatMap((key) =>
    flags[key] === undefined ? [] : [{ path: [key], value: flags[key], from: FLAGS[key] }],
  );
  return flags.tls === true ? [...given, { path: ['tls', 'enabled'], value: true, from: '--tls' }] : given;
}

function assign(target: Record<string, unknown>, path: readonly string[], value: unknown): void {
  const [key, ...rest] = path;
  if (key === undefined) return;
  if (rest.length === 0) {
    target[key] = value;
    return;
  }
  const next = isRecord(target[key]) ? target[key] : {};
  target[key] = next;
  assign(next, rest, value);
}

function explain(issue: z.core.$ZodIssue, sources: readonly Source[], settings: readonly Setting[]): string[] {
  const path = issue.path.map(String);
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => {
      const name = [...path, key].join('.');
      const from = sourceOf([...path, key], sources)?.from;
      return `${name} (${from ?? 'file'}): there is no such setting${suggestion(name, namesAt(path, settings))}`;
    });
  }
  const source = sourceOf(path, sources);
  const name = path.join('.');
  const got =
    source === undefined || SECRETS.has(name) || isRecord(source.value) ? '' : `; got ${JSON.stringify(source.value)}`;
  const wanted = needsJson(source, settings) ? `${issue.message} (written as JSON)` : issue.message;
  return [`${name} (${source?.from ?? 'default'}): ${wanted}${got}`];
}

function needsJson(source: Source | undefined, settings: readonly Setting[]): boolean {
  const setting = settings.find((each) => each.variable === source?.from);
  const type = setting && unwrap(setting.schema);
  return type instanceof z.ZodArray || type instanceof z.ZodRecord;
}

/** The last one wins, as it did when the values were put together. */
function sourceOf(path: readonly string[], sources: readonly Source[]): Source | undefined {
  return sources.findLast((source) => {
    const shorter = Math.min(source.path.length, path.length);
    return source.path.slice(0, shorter).every((part, i) => path[i] === part);
  });
}

/** Full names of settings and groups beside the one that is not known. */
function namesAt(path: readonly string[], settings: readonly Setting[]): string[] {
  const prefix = path.length === 0 ? '' : `${path.join('.')}.`;
  const beside = settings
    .filter((setting) => setting.name.startsWith(prefix))
    .map((setting) => prefix + (setting.path[path.length] ?? ''));
  return [...new Set([...beside, ...settings.map((setting) => setting.name)])];
}

function suggestion(name: string, names: readonly string[]): string {
  const nearest = nearestName(name, names);
  return nearest === undefined ? '' : `; did you mean ${nearest}?`;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
