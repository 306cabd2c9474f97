import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { makeImage } from '../testing/test-image.ts';
import { classifyAddress, isLoopbackHost } from './address.ts';
import { parseRetryAfter } from './answer.ts';
import { parseChallenges } from './challenge.ts';
import { parseImageConfig } from './image-config.ts';
import { parseManifest } from './manifest.ts';
import { choosePlatform } from './platform.ts';

describe('WWW-Authenticate', () => {
  const asObject = (header: string | string[]) =>
    parseChallenges(header).map(({ scheme, params }) => ({ scheme, ...Object.fromEntries(params) }));

  it.each([
    [
      'Bearer realm="https://a.example/token",service="r",scope="repository:a/b:pull,push"',
      [{ scheme: 'bearer', realm: 'https://a.example/token', service: 'r', scope: 'repository:a/b:pull,push' }],
    ],
    ['Basic realm="a \\"quoted\\" realm"', [{ scheme: 'basic', realm: 'a "quoted" realm' }]],
    ['BASIC', [{ scheme: 'basic' }]],
    [
      'Negotiate, Bearer realm=x , Basic realm="y"',
      [{ scheme: 'negotiate' }, { scheme: 'bearer', realm: 'x' }, { scheme: 'basic', realm: 'y' }],
    ],
    ['', []],
    ['"', []],
  ])('%s', (header, challenges) => {
    expect(asObject(header)).toEqual(challenges);
  });

  it('may stand there twice', () => {
    expect(asObject(['Basic realm="a"', 'Bearer realm="b"'])).toEqual([
      { scheme: 'basic', realm: 'a' },
      { scheme: 'bearer', realm: 'b' },
    ]);
  });

  it('is read to an end, whatever stands in it', () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom(...'aB="\\, \t:') }), (header) => {
        expect(parseChallenges(header).length).toBeLessThanOrEqual(header.length);
      }),
    );
  });
});

describe('Retry-After', () => {
  it('is in seconds or a date, or nothing', () => {
    const now = Date.parse('2026-01-01T00:00:00Z');
    expect(parseRetryAfter('7', now)).toBe(7000);
    expect(parseRetryAfter('Thu, 01 Jan 2026 00:00:30 GMT', now)).toBe(30_000);
    expect(parseRetryAfter('Wed, 31 Dec 2025 00:00:00 GMT', now)).toBe(0);
    expect(parseRetryAfter('soon', now)).toBeUndefined();
    expect(parseRetryAfter(undefined, now)).toBeUndefined();
  });
});

describe('addresses', () => {
  it.each([
    ['8.8.8.8', 'public'],
    ['2606:4700::1111', 'public'],
    ['::ffff:8.8.8.8', 'public'],
    ['127.0.0.1', 'internal'],
    ['::1', 'internal'],
    ['::ffff:127.0.0.1', 'internal'],
    ['10.1.2.3', 'internal'],
    ['172.31.0.1', 'internal'],
    ['192.168.1.1', 'internal'],
    ['100.64.0.1', 'internal'],
    ['fd12::1', 'internal'],
    ['64:ff9b::10.0.0.1', 'internal'],
    ['2002:0a00:0001::', 'internal'],
    ['169.254.169.254', 'forbidden'],
    ['::ffff:169.254.169.254', 'forbidden'],
    ['64:ff9b::a9fe:a9fe', 'forbidden'],
    ['2002:a9fe:a9fe::1', 'forbidden'],
    ['::169.254.169.254', 'forbidden'],
    ['fe80::1%eth0', 'forbidden'],
    ['fd00:ec2::254', 'forbidden'],
    ['168.63.129.16', 'forbidden'],
    ['0.0.0.0', 'forbidden'],
    ['::', 'forbidden'],
    ['::ffff:0.0.0.0', 'forbidden'],
    ['255.255.255.255', 'forbidden'],
    ['224.0.0.1', 'forbidden'],
    ['nonsense', 'forbidden'],
  ])('%s is %s', (address, kind) => {
    expect(classifyAddress(address)).toBe(kind);
  });

  it('that URLs write in strange ways are loopback when they lead there, names that only look so are not', () => {
    for (const host of ['localhost', '127.0.0.1', '127.1', '2130706433', '0x7f.1', '[::1]', '127.9.9.9']) {
      expect(isLoopbackHost(new URL(`http://${host}/`).hostname)).toBe(true);
    }
    for (const host of ['localhost.example', '127.0.0.1.example', '128.0.0.1', '[::2]', '10.0.0.1']) {
      expect(isLoopbackHost(new URL(`http://${host}/`).hostname)).toBe(false);
    }
  });
});

describe('image configs', () => {
  const parse = (config: unknown) => parseImageConfig(Buffer.from(JSON.stringify(config)));

  it('may leave out nearly everything', () => {
    expect(parse({ rootfs: {} })).toEqual({
      config: {
        env: [],
        entrypoint: [],
        cmd: [],
        workingDir: '',
        user: '',
        labels: {},
        exposedPorts: [],
        volumes: [],
        stopSignal: undefined,
      },
      diffIds: [],
      platform: {},
    });
    expect(parse({ config: null, rootfs: { diff_ids: null } }).diffIds).toEqual([]);
  });

  it('say what builds from the image do, and how it is looked after', () => {
    const Healthcheck = { Test: ['CMD-SHELL', 'true'], Interval: 3e10, Retries: 3 };
    const config = { Shell: ['/bin/bash', '-c'], OnBuild: ['RUN make', 'COPY . /'], Healthcheck };
    expect(parse({ config, rootfs: {} }).config).toMatchObject({
      shell: ['/bin/bash', '-c'],
      onBuild: ['RUN make', 'COPY . /'],
      healthcheck: {
        test: ['CMD-SHELL', 'true'],
        interval: 3e10,
        timeout: 0,
        startPeriod: 0,
        startInterval: 0,
        retries: 3,
      },
    });
  });

  it.each([
    { Shell: null, OnBuild: null, Healthcheck: null },
    { Shell: [], OnBuild: [], Healthcheck: {} },
    { Shell: 'sh', OnBuild: { a: 1 }, Healthcheck: 'often' },
    { Shell: ['a', 1], OnBuild: ['\0'], Healthcheck: { Test: [] } },
    { Healthcheck: { Test: 'CMD true', Interval: 1 } },
  ])('with odd values where only builds look have none there: %j', (config) => {
    const parsed = parse({ config: { Cmd: ['run'], ...config }, rootfs: {} }).config;
    expect(parsed.cmd).toEqual(['run']);
    expect([parsed.shell, parsed.onBuild, parsed.healthcheck]).toEqual([undefined, undefined, undefined]);
  });

  it('with odd numbers in a health check have the defaults there', () => {
    const Healthcheck = {
      Test: ['NONE'],
      Interval: -1,
      Timeout: '5s',
      StartPeriod: 1.5,
      StartInterval: null,
      Retries: {},
    };
    expect(parse({ config: { Healthcheck }, rootfs: {} }).config.healthcheck).toEqual({
      test: ['NONE'],
      interval: 0,
      timeout: 0,
      startPeriod: 1,
      startInterval: 0,
      retries: 0,
    });
  });

  it.each([
    [{}, /rootfs/],
    [{ config: { Cmd: 'sh' }, rootfs: {} }, /config.Cmd/],
    [{ config: { Env: ['A=\0'] }, rootfs: {} }, /NUL/],
    [{ config: { Labels: { a: '\ud800' } }, rootfs: {} }, /broken Unicode/],
    [{ config: { Env: [7] }, rootfs: {} }, /config.Env.0/],
    [{ rootfs: { diff_ids: ['sha256:../../x'] } }, /diff_ids.0/],
  ])('%j is refused by the field', (config, reason) => {
    expect(() => parse(config)).toThrow(reason);
  });
});

describe('documents', () => {
  it('of millions of values are refused before each of them is judged', () => {
    const flood = Buffer.from(`{"layers":[${'1,'.repeat(1_000_000)}1]}`);
    expect(() => parseManifest(flood, undefined)).toThrow(/more than 100000 values/);
    expect(() => parseImageConfig(flood)).toThrow(/more than 100000 values/);
  });
});

describe('platforms', () => {
  const { config } = makeImage([]);
  const entry = (architecture: string, variant?: string) => ({
    ...config,
    digest: `${architecture}${variant}`,
    platform: { os: 'linux', architecture, variant },
  });
  const choose = (architecture: string, ...manifests: ReturnType<typeof entry>[]) =>
    choosePlatform({ kind: 'index', manifests }, { os: 'linux', architecture }).digest;

  it('prefer the variant that every processor of the architecture has', () => {
    expect(choose('amd64', entry('amd64', 'v3'), entry('amd64'), entry('arm64', 'v8'))).toBe('amd64undefined');
    expect(choose('arm64', entry('arm', 'v7'), entry('arm64', 'v9'), entry('arm64', 'v8'))).toBe('arm64v8');
  });

  it('an index with one image and no platform is for any', () => {
    const only = { ...config, platform: undefined };
    expect(choosePlatform({ kind: 'index', manifests: [only] }, { os: 'linux', architecture: 'amd64' })).toBe(only);
  });
});
