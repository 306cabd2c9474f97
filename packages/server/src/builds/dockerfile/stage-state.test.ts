import { expect, test } from 'vitest';
import type { ImageConfig } from '../../images/types.ts';
import { parseDockerfile } from './parse.ts';
import { stepEnvironment } from './scope.ts';
import { applyInstruction, beginStage, type StageState } from './stage-state.ts';

const empty: ImageConfig = {
  env: [],
  entrypoint: [],
  cmd: [],
  workingDir: '',
  user: '',
  labels: {},
  exposedPorts: [],
  volumes: [],
  stopSignal: undefined,
};

function after(text: string, base: Partial<ImageConfig> = {}): StageState {
  const { stages } = parseDockerfile(`FROM x\n${text}`);
  const given = { buildArgs: new Map([['GIVEN', 'yes']]), global: new Map<string, string>() };
  const start = beginStage({ config: { ...empty, ...base }, escapeChar: '\\' });
  return stages[0].instructions.reduce((state, instruction) => applyInstruction(state, instruction, given), start);
}

test('ENV sees what was there before it, replaces in place, and quotes are gone', () => {
  const { config } = after('ENV A=1\nENV A=2 B="$A x" C=\'$A\'\nENV D the $B', { env: ['PATH=/bin', 'A=0'] });
  expect(config.env).toEqual(['PATH=/bin', 'A=2', 'B=1 x', 'C=$A', 'D=the 1 x']);
});

test('an image without a PATH gets the usual one', () => {
  expect(after('').config.env).toEqual(['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin']);
});

test('ARG is for the build alone', () => {
  const state = after('ARG GIVEN\nARG OTHER=o\nENV E=$GIVEN-$OTHER');
  expect(state.config.env.at(-1)).toBe('E=yes-o');
  expect(state.config.env.join()).not.toContain('OTHER');
});

test('of ARG and ENV the one further down counts, and ENV alone is for the image', () => {
  const text = 'ENV A=env\nARG A=arg\nENV ONE=$A\nENV A=again\nENV TWO=$A\nARG A\nENV THREE=$A';
  const { config, scope } = after(text, { env: ['PATH=/bin'] });
  expect(config.env).toEqual(['PATH=/bin', 'A=again', 'ONE=arg', 'TWO=again', 'THREE=again']);
  expect(stepEnvironment(scope)).toMatchObject({ A: 'again' });
  expect(stepEnvironment(after('ENV A=env\nARG A=arg').scope)).toMatchObject({ A: 'arg' });
});

test('what a port is published on does not count', () => {
  const { config } = after('EXPOSE 8080:80 127.0.0.1:9000:9001/udp 127.0.0.1::22 [::1]:5000-5001:53-54 :70');
  expect(config.exposedPorts).toEqual(['80/tcp', '9001/udp', '22/tcp', '53/tcp', '54/tcp', '70/tcp']);
});

test.each(['9', 'SIGRTMIN+3', 'term', 'SIGRTMAX-14', 'sigwinch'])(
  '%s is a signal, and stays as it is written',
  (signal) => expect(after(`STOPSIGNAL ${signal}`).config.stopSignal).toBe(signal),
);

test('WORKDIR goes on from where it was', () => {
  expect(after('WORKDIR a\nWORKDIR ../b/./c').config.workingDir).toBe('/b/c');
  expect(after('WORKDIR $NOTHING').config.workingDir).toBe('/');
  expect(after('ENV D=/d\nWORKDIR $D\nWORKDIR "e f"', { workingDir: '/x' }).config.workingDir).toBe('/d/e f');
});

test('an ENTRYPOINT takes the base’s CMD away, and leaves the stage’s own', () => {
  expect(after('ENTRYPOINT ["e"]', { cmd: ['base'] }).config).toMatchObject({ entrypoint: ['e'], cmd: [] });
  expect(after('CMD ["c"]\nENTRYPOINT e').config).toMatchObject({ entrypoint: ['/bin/sh', '-c', 'e'], cmd: ['c'] });
});

test('SHELL is used by what stands behind it', () => {
  const { config } = after('CMD a\nSHELL ["/bin/bash", "-ec"]\nENTRYPOINT b');
  expect(config).toMatchObject({ cmd: ['/bin/sh', '-c', 'a'], entrypoint: ['/bin/bash', '-ec', 'b'] });
});

test('ports, volumes, labels, user, signal, health, triggers, author', () => {
  const state = after(
    'EXPOSE 80 53/udp 8000-8002/tcp 80\nVOLUME ["/a b"] \nVOLUME /c /d\nLABEL a=1 "b c"="d e"\nUSER u:g\nSTOPSIGNAL SIGQUIT\nHEALTHCHECK --retries=2 CMD x\nONBUILD RUN y\nMAINTAINER me',
    { labels: { a: '0', z: '1' } },
  );
  expect(state.config).toMatchObject({
    exposedPorts: ['80/tcp', '53/udp', '8000/tcp', '8001/tcp', '8002/tcp'],
    volumes: ['/a b', '/c', '/d'],
    labels: { a: '1', z: '1', 'b c': 'd e' },
    user: 'u:g',
    stopSignal: 'SIGQUIT',
  });
  expect(state.healthcheck).toMatchObject({ test: ['CMD-SHELL', 'x'], retries: 2 });
  expect(state).toMatchObject({ onbuild: ['RUN y'], author: 'me' });
});

test.each([
  ['EXPOSE 70000', 'Dockerfile line 2: invalid containerPort: 70000'],
  ['EXPOSE 9-8', 'Dockerfile line 2: invalid containerPort: 9-8'],
  ['EXPOSE 8080:', 'Dockerfile line 2: invalid containerPort: 8080:'],
  ['STOPSIGNAL SIGNOTHING', 'Dockerfile line 2: invalid signal: SIGNOTHING'],
  ['STOPSIGNAL 0', 'Dockerfile line 2: invalid signal: 0'],
  ['STOPSIGNAL SIGRTMIN+16', 'Dockerfile line 2: invalid signal: SIGRTMIN+16'],
])('%s is refused with its line', (text, message) => expect(() => after(text)).toThrow(message));
