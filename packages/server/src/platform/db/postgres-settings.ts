/** Small: one server process is the only client, and the machine's memory is for sandboxes. */
const SETTINGS = {
  listen_addresses: '',
  max_connections: '240',
  shared_buffers: '32MB',
  work_mem: '4MB',
  maintenance_work_mem: '32MB',
  huge_pages: 'off',
  io_method: 'sync',
  jit: 'off',
  max_parallel_workers_per_gather: '0',
  max_worker_processes: '2',
  // Nothing replicates from here, so the log needs only what a crash needs.
  wal_level: 'minimal',
  max_wal_senders: '0',
  wal_compression: 'on',
  min_wal_size: '32MB',
  max_wal_size: '256MB',
  // What a statement did wrong is reported by the server that sent it.
  log_min_messages: 'log',
  log_checkpoints: 'off',
  log_line_prefix: '%m [%p] ',
  log_timezone: 'UTC',
  timezone: 'UTC',
  // A client that vanished in the middle of a transaction must not hold its locks.
  idle_in_transaction_session_timeout: '60s',
} as const;

export function settingsArguments(socketDir: string): string[] {
  return Object.entries({ ...SETTINGS, unix_socket_directories: socketDir }).flatMap(([name, value]) => [
    '-c',
    `${name}=${value}`,
  ]);
}
