export * from './credentials.ts';
export * from './daytona/index.ts';
export * from './error-codes.ts';
export * from './permissions.ts';
export * from './states.ts';
