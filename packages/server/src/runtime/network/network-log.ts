/** The part of a logger that the network needs; pino's loggers have it. */
export interface NetworkLog {
  info(details: object, message: string): void;
  warn(details: object, message: string): void;
  error(details: object, message: string): void;
}
