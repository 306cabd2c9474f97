/** `npm run torture -- --hostile` runs them all; other runs of the tests one of each kind. */
export const EVERYTHING = process.env.TORTURE_HOSTILE === 'all';
