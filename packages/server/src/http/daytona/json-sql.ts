/** An SQL expression for the JSON text of a time, as `toISOString` has it. */
export const time = (column: string) =>
  `to_char(${column} at time zone 'UTC', '"\\""YYYY-MM-DD"T"HH24:MI:SS.MS"Z\\""')`;
