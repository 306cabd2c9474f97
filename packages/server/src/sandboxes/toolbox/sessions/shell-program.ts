/** The first byte of a marker: ASCII's record separator, which text has no use for. */
export const MARKER_BYTE = '\x1e';

/**
 * What crun starts. It runs the session's shell and outlives it: whatever the shell left in the background stays below this
 * process, where deleting the session finds it. Descriptor 3 is a pipe that it holds at both ends, so that waiting on it is
 * waiting to be killed, also when the server has gone. The first line of its input is the token of its markers.
 */
const SUPERVISOR = `IFS= read -r t
"$0"
s=$?
trap : PIPE
printf '\\036%s end %s\\n' "$t" "$s"
printf '\\036%s end %s\\n' "$t" "$s" >&2
while read -r s; do :; done <&3`;

export function supervisorArgv(shell: string): string[] {
  return [shell, '-c', SUPERVISOR, shell];
}

/** What the supervisor and then the shell read first: between commands the shell's own outputs go nowhere, not even `set -x`. */
export function setupText(token: string): string {
  return `${token}\nexec 7>&1 8>&2 9<&3 3<&- >/dev/null 2>&1\n`;
}

/**
 * Runs a command in the shell itself, and says on both outputs when it has ended. The shell reads one such line at a time and
 * has nothing else to read before the next, so that no command can take a part of it. `eval` gets the command as one word: its
 * syntax errors are its own. Other shells than bash end at an error of a special builtin, which `command` keeps them from. The
 * first line is for bash, which after an open quote does not know the first word of the next line as one of its own.
 */
export function commandText(
  options: { shell: string; token: string; number: number; readsInput: boolean },
  command: string,
): string {
  const run = options.shell.endsWith('/bash') ? 'eval' : 'command eval';
  const input = options.readsInput ? '<&9' : '</dev/null';
  const marker = `\\036${options.token} ${options.number}`;
  return `:\n{ \\${run} ${quote(command)}
} ${input} >&7 2>&8 7>&- 8>&- 9<&-; \\command printf '${marker} %s\\n' "$?" >&7; \\command printf '${marker} 0\\n' >&8\n`;
}

/** One word of a shell, whatever is in it. */
export function quote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
