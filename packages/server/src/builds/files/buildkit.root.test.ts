import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ID_BASE } from '../../images/unpack/testing/layer-blob.ts';
import { describeLines } from './testing/describe-cases.ts';
import { caseDirectory, caseText, indexed } from './testing/oracle-dockerfile.ts';
import { CASES, REFUSED } from './testing/transfer-cases.ts';
import { createTransferLab, type TransferLab } from './testing/transfer-lab.ts';

/** Recorded from BuildKit by `testing/record-buildkit.ts`. */
const recorded: Record<string, string[]> = JSON.parse(
  readFileSync(new URL('./testing/buildkit-trees.json', import.meta.url), 'utf8'),
);

let lab: TransferLab;
beforeAll(async () => {
  lab = await createTransferLab(indexed(CASES).map(({ index }) => caseDirectory(index)));
});
afterAll(() => lab.close());

describe('what is copied is what BuildKit makes', () => {
  test.each(indexed(CASES))('$name: $text', async ({ text, index }) => {
    const workingDirectory = `${caseDirectory(index)}/work`;
    const { merged } = await lab.run(caseText(text, index), { workingDirectory });
    expect(describeLines(`${merged}${caseDirectory(index)}`, ID_BASE)).toEqual(recorded[text]);
  });

  test.each(REFUSED)('$text is refused', async ({ text, message }) => {
    const run = lab.run(caseText(text, 0), { workingDirectory: `${caseDirectory(0)}/work` });
    await expect(run).rejects.toMatchObject({ code: 'invalid_request', message: expect.stringMatching(message) });
  });
});
