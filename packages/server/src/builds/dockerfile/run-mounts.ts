import type { RunMount } from './instructions.ts';
import { syntaxError } from './syntax-error.ts';

const KEYS: Readonly<Record<RunMount['type'], readonly string[]>> = {
  bind: ['target', 'source', 'from', 'readonly', 'readwrite'],
  cache: ['target', 'source', 'from', 'id', 'readonly', 'readwrite', 'sharing', 'mode', 'uid', 'gid'],
  tmpfs: ['target', 'size'],
  secret: ['target', 'id', 'env', 'required', 'mode', 'uid', 'gid'],
};

const ALIASES: Readonly<Record<string, string>> = {
  dst: 'target',
  destination: 'target',
  src: 'source',
  ro: 'readonly',
  rw: 'readwrite',
};

/** The value of `--mount`: `type=cache,target=/root/.cache`. Values are as written; paths are expanded later. */
export function readMount(line: number, text: string): RunMount {
  const fields = new Map<string, string>();
  for (const field of text.split(',')) {
    const equals = field.indexOf('=');
    const key = (equals === -1 ? field : field.slice(0, equals)).trim().toLowerCase();
    const value = equals === -1 ? 'true' : field.slice(equals + 1);
    const name = (Object.hasOwn(ALIASES, key) ? ALIASES[key] : undefined) ?? key;
    if (fields.has(name)) throw syntaxError(line, `--mount has ${key} twice`);
    fields.set(name, value);
  }
  const type = fields.get('type') ?? 'bind';
  fields.delete('type');
  if (type === 'ssh')
    throw syntaxError(line, '--mount=type=ssh is not supported', 'Give the key as a secret: --mount=type=secret,id=….');
  if (type !== 'bind' && type !== 'cache' && type !== 'tmpfs' && type !== 'secret') {
    throw syntaxError(line, `--mount has no type ${type}`, 'The types are bind, cache, tmpfs and secret.');
  }
  const unknown = [...fields.keys()].find((key) => !KEYS[type].includes(key));
  if (unknown !== undefined)
    throw syntaxError(line, `--mount=type=${type} has no ${unknown}`, `It has ${KEYS[type].join(', ')}.`);
  return mountOf(line, type, fields);
}

function mountOf(line: number, type: RunMount['type'], fields: ReadonlyMap<string, string>): RunMount {
  const target = () => {
    const value = fields.get('target');
    if (value) return value;
    throw syntaxError(line, `--mount=type=${type} needs a target`);
  };
  const bool = (key: string, fallback: boolean) => {
    const value = fields.get(key);
    if (value === undefined) return fallback;
    if (value === 'true' || value === '1') return true;
    if (value === 'false' || value === '0') return false;
    throw syntaxError(line, `--mount: ${key} is true or false, not ${value}`);
  };
  const integer = (key: string, radix: 8 | 10, fallback: number) => {
    const value = fields.get(key);
    if (value === undefined) return fallback;
    if ((radix === 8 ? /^0?[0-7]{1,5}$/ : /^\d{1,9}$/).test(value)) return Number.parseInt(value, radix);
    throw syntaxError(line, `--mount: ${key} must be ${radix === 8 ? 'an octal mode' : 'a number'}, not ${value}`);
  };
  const owner = (mode: number) => ({
    mode: integer('mode', 8, mode),
    uid: integer('uid', 10, 0),
    gid: integer('gid', 10, 0),
  });
  switch (type) {
    case 'bind':
      return {
        type,
        target: target(),
        from: fields.get('from'),
        source: fields.get('source') ?? '/',
        writable: bool('readwrite', false) || !bool('readonly', true),
      };
    case 'cache':
      return {
        type,
        target: target(),
        id: fields.get('id'),
        from: fields.get('from'),
        source: fields.get('source') ?? '/',
        sharing: sharing(line, fields.get('sharing')),
        readonly: bool('readonly', false),
        ...owner(0o755),
      };
    case 'tmpfs':
      return { type, target: target(), sizeBytes: size(line, fields.get('size')) };
    case 'secret':
      return secret(line, fields, { required: bool('required', false), ...owner(0o400) });
  }
}

function secret(
  line: number,
  fields: ReadonlyMap<string, string>,
  rest: { required: boolean; mode: number; uid: number; gid: number },
): RunMount {
  const target = fields.get('target');
  const env = fields.get('env');
  const id = fields.get('id') ?? target?.slice(target.lastIndexOf('/') + 1);
  if (!id) throw syntaxError(line, '--mount=type=secret needs an id');
  return { type: 'secret', id, target: target ?? (env === undefined ? `/run/secrets/${id}` : undefined), env, ...rest };
}

function sharing(line: number, value: string | undefined): 'shared' | 'private' | 'locked' {
  if (value === undefined || value === 'shared') return 'shared';
  if (value === 'private' || value === 'locked') return value;
  throw syntaxError(line, `--mount: sharing is shared, private or locked, not ${value}`);
}

const SIZE_UNITS: Readonly<Record<string, number>> = { '': 1, b: 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30, t: 2 ** 40 };

function size(line: number, value: string | undefined): number | undefined {
  if (value === undefined) return undefined;
  const [, amount, unit] = /^(\d+(?:\.\d+)?)([bkmgt]?)(?:i?b)?$/i.exec(value) ?? [];
  const factor = SIZE_UNITS[(unit ?? '').toLowerCase()];
  const bytes = amount === undefined || factor === undefined ? undefined : Math.round(Number(amount) * factor);
  if (bytes !== undefined && Number.isSafeInteger(bytes)) return bytes;
  throw syntaxError(line, `--mount: size is a number with a unit such as 64m, not ${value}`);
}
