import { test } from 'vitest';
import { holds } from '../../test-support/property.ts';
import { tarProperties } from './testing/tar-properties.ts';

test.each(tarProperties())('$name', (property) => holds(property));
