/** The one bucket. It stands at the root of the server, because some clients drop whatever path they are given. */
export const BUCKET = 'darkroom-contexts';
/** Requests must be signed for some region; any will do. */
export const REGION = 'us-east-1';
