/** A place in the order in which events can be seen: behind the event of this transaction and id. */
export interface EventCursor {
  txid: number;
  id: number;
}

/** As clients keep it; it is the id of the event before. */
export const cursorText = ({ txid, id }: EventCursor): string => `${txid}-${id}`;

export function parseCursor(text: string): EventCursor | undefined {
  const match = /^(\d{1,15})-(\d{1,15})$/.exec(text);
  return match === null ? undefined : { txid: Number(match[1]), id: Number(match[2]) };
}
