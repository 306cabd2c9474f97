import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Ajv2020 } from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';

const fixture = join(import.meta.dirname, '..', 'fixtures', 'snapshot-dto.schema.json');
const ajv = new Ajv2020({ strict: false, allErrors: true });
addFormats.default(ajv);
// The schema says `nullable`, a word of OpenAPI 3.0; JSON Schema 2020 says it as a second type.
const validate = ajv.compile(
  JSON.parse(readFileSync(fixture, 'utf8'), (_key, value) =>
    value?.nullable === true ? { ...value, type: [value.type, 'null'] } : value,
  ),
);

/** Fails unless the value is a snapshot as the published JSON schema says. */
export function expectSnapshotDto(value: unknown): void {
  if (!validate(value))
    throw new Error(`not a SnapshotDto: ${ajv.errorsText(validate.errors)}\n${JSON.stringify(value)}`);
}
