import { invalidRequest } from '../../platform/errors.ts';
import type { ShellCommand } from './shell-command.ts';

const missing = (what: string) => `echo '${what}'; exit 127`;

/** Scripts get the code on their standard input and the caller's arguments as theirs. */
const SCRIPTS = {
  python: `exec 2>&1
for p in python3 python; do command -v $p >/dev/null 2>&1 && exec $p -u - "$@"; done
${missing('Python is not installed in this sandbox: neither python3 nor python is in its PATH.')}`,
  javascript: `exec 2>&1
for p in node nodejs; do command -v $p >/dev/null 2>&1 && exec $p - "$@"; done
command -v bun >/dev/null 2>&1 && exec bun run - "$@"
${missing('Node.js is not installed in this sandbox: node is not in its PATH.')}`,
  // Runners of TypeScript want a file; it is gone again when they end.
  typescript: `exec 2>&1
d=$(mktemp -d) || exit 1
trap 'rm -rf "$d"' EXIT
cat > "$d/code.ts"
if command -v ts-node >/dev/null 2>&1; then ts-node -T -O '{"module":"CommonJS"}' "$d/code.ts" "$@"
elif command -v tsx >/dev/null 2>&1; then tsx "$d/code.ts" "$@"
elif command -v bun >/dev/null 2>&1; then bun run "$d/code.ts" "$@"
elif command -v deno >/dev/null 2>&1; then deno run -A "$d/code.ts" "$@"
elif command -v node >/dev/null 2>&1 && node --experimental-strip-types -e 0 >/dev/null 2>&1; then
  node --experimental-strip-types --disable-warning=ExperimentalWarning "$d/code.ts" "$@"
else ${missing('TypeScript cannot be run in this sandbox: install ts-node, tsx, bun, deno, or Node.js 22.6 or newer.')}
fi`,
} as const;

export type CodeLanguage = keyof typeof SCRIPTS;
export const DEFAULT_LANGUAGE: CodeLanguage = 'python';

export function isCodeLanguage(value: string): value is CodeLanguage {
  return Object.hasOwn(SCRIPTS, value);
}

/** How code of a language is run by the sandbox's shell. */
export function codeCommand(shell: string, language: string, code: string, args: readonly string[]): ShellCommand {
  if (!isCodeLanguage(language)) {
    throw invalidRequest(
      `Language ${JSON.stringify(language)} is not supported. Supported are ${Object.keys(SCRIPTS).join(', ')}.`,
    );
  }
  if (args.some((arg) => arg.includes('\0'))) throw invalidRequest('Arguments must not contain NUL');
  return { argv: [shell, '-c', SCRIPTS[language], 'code-run', ...args], input: code };
}
