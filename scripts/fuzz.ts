/** `npm run fuzz -- --seconds N [--seed S] [NAME…]`: the properties that tests look at for a moment, for as long as there is time. */
import { parseArgs } from 'node:util';
import { unpackProperties } from '../packages/server/src/builds/contexts/testing/unpack-properties.ts';
import { dockerfileProperties } from '../packages/server/src/builds/dockerfile/testing/dockerfile-properties.ts';
import { NASTY_TEXTS } from '../packages/server/src/builds/dockerfile/testing/nasty-texts.ts';
import { readWhole } from '../packages/server/src/builds/dockerfile/testing/read-whole.ts';
import { tarProperties } from '../packages/server/src/images/tar/testing/tar-properties.ts';
import { holds } from '../packages/server/src/test-support/property.ts';

const { values, positionals } = parseArgs({
  options: { seconds: { type: 'string', default: '60' }, seed: { type: 'string' } },
  allowPositionals: true,
});
const seed = values.seed === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(values.seed);
const seconds = Number(values.seconds);
if (!Number.isFinite(seconds) || seconds <= 0 || !Number.isInteger(seed))
  throw new Error('--seconds and --seed are numbers');

const needRoot = process.getuid?.() === 0 ? unpackProperties() : [];
const all = [...dockerfileProperties(), ...tarProperties(), ...needRoot].filter(
  ({ name }) => positionals.length === 0 || positionals.some((word) => name.includes(word)),
);
console.log(`seed ${seed}, ${seconds} s for ${all.length} properties`);
for (const [name, make] of Object.entries(positionals.length === 0 ? NASTY_TEXTS : {})) {
  const since = performance.now();
  readWhole(make(1024 * 1024 - 200));
  const ms = Math.round(performance.now() - since);
  if (ms > 1000) console.log(`${name}: ${ms} ms for the largest file`);
}
let failures = 0;
for (const property of all) {
  try {
    await holds(property, { seed, milliseconds: (seconds * 1000) / all.length });
    console.log(`holds: ${property.name}`);
  } catch (error) {
    failures += 1;
    console.error(`fails: ${property.name}\n${error instanceof Error ? error.stack : String(error)}`);
    if (error instanceof Error && error.cause instanceof Error) console.error(error.cause.stack);
  }
}
process.exitCode = failures === 0 ? 0 : 1;
