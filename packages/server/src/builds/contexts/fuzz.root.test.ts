import { test } from 'vitest';
import { holds } from '../../test-support/property.ts';
import { unpackProperties } from './testing/unpack-properties.ts';

test.each(unpackProperties())('$name', (property) => holds(property));
