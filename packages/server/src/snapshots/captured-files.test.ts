import { expect, test } from 'vitest';
import { capturedImage } from './captured-files.ts';

const image = {
  env: ['PATH=/usr/bin', 'KEPT=from image', 'GIVEN=from image', 'EMPTY='],
  entrypoint: ['/start'],
  cmd: ['serve', '--all'],
  workingDir: '/srv',
  user: 'app:staff',
  labels: { 'org.example.kind': 'tool' },
  exposedPorts: ['80/tcp'],
  volumes: ['/data'],
  stopSignal: 'SIGINT',
  shell: ['/bin/bash', '-c'],
};

test('the config of the image stays as it is, with the environment that the sandbox was given over its own', () => {
  const source = { image, env: { GIVEN: 'by the client', NEW: 'a=b' } };
  expect(capturedImage(source)).toEqual({
    ...image,
    env: ['PATH=/usr/bin', 'KEPT=from image', 'EMPTY=', 'GIVEN=by the client', 'NEW=a=b'],
  });
});

test("the class of the sandbox is the snapshot's and no part of the image", () => {
  expect(capturedImage({ image: { ...image, sandboxClass: 'gvisor' }, env: {} })).toEqual(image);
});
