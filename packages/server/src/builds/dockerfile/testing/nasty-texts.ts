// biome-ignore-all lint/suspicious/noTemplateCurlyInString: these are variables of a Dockerfile

/** Texts of a given length that look for a way of reading them that takes more than its share. Each begins as a Dockerfile does. */
export const NASTY_TEXTS: Readonly<Record<string, (length: number) => string>> = {
  'a word of nothing but letters': (n) => `FROM x\nRUN ${'a'.repeat(n)}`,
  'an instruction without end': (n) => `FROM x\n${'ab'.repeat(n / 2)}`,
  'empty lines': (n) => `FROM x\n${'\n'.repeat(n)}`,
  'short instructions': (n) => `FROM x\n${'ENV A=b\n'.repeat(n / 8)}`,
  'stages of many names': (n) => repeated(n, (i) => `FROM x AS s${i}\n`),
  'stages on each other': (n) => repeated(n, (i) => `FROM ${i === 0 ? 'x' : `s${i - 1}`} AS s${i}\n`),
  'stages without names': (n) => 'FROM x\n'.repeat(n / 7),
  'backslashes and blanks': (n) => `FROM x\nRUN ${'\\ '.repeat(n / 2)}x`,
  'continued lines': (n) => `FROM x\nRUN ${'\\\n'.repeat(n / 2)}x`,
  'comments in a continued line': (n) => `FROM x\nRUN a \\\n${'# c\n'.repeat(n / 4)}`,
  'blanks at the end of a continued line': (n) => `FROM x\nRUN a\\${' '.repeat(n)}x`,
  'a directive with blanks in it': (n) => `# syntax=a${' '.repeat(n)}b\nFROM x`,
  'many directives': (n) => `${'# syntax=a\n'.repeat(n / 11)}FROM x`,
  'the flags of an instruction': (n) => `FROM x\nRUN ${'--mount=type=tmpfs,target=/a '.repeat(n / 29)} x`,
  'unknown flags': (n) => `FROM x\nRUN ${'--a '.repeat(n / 4)} x`,
  'one flag of one mount': (n) => `FROM x\nRUN --mount=${'a=b,'.repeat(n / 4)} x`,
  'different fields of one mount': (n) => `FROM x\nRUN --mount=${repeated(n, (i) => `a${i},`)} x`,
  'excluded names': (n) => `FROM x\nCOPY ${'--exclude=a '.repeat(n / 12)} a /b`,
  'heredocs that are opened': (n) => `FROM x\nRUN ${'<<a '.repeat(n / 4)}`,
  'heredocs with ends': (n) => repeated(n - 7, (i) => `COPY <<e${i} /x\ne${i}\n`, 'FROM x\n'),
  'a heredoc of blanks': (n) => `FROM x\nCOPY <<${' '.repeat(n)}< /x`,
  'a heredoc of blanks in JSON': (n) => `FROM x\nCOPY ["<<${' '.repeat(n)}<", "/x"]`,
  'marks of heredocs': (n) => `FROM x\nRUN ${'<'.repeat(n)}`,
  'digits before a heredoc': (n) => `FROM x\nRUN ${'1'.repeat(n)}<<a`,
  'the content of a heredoc': (n) => `FROM x\nCOPY <<a /x\n${'$A\n'.repeat(n / 3)}a`,
  'open brackets': (n) => `FROM x\nRUN ${'['.repeat(n)}`,
  'brackets of JSON': (n) => `FROM x\nRUN ${'['.repeat(n / 2)}${']'.repeat(n / 2)}`,
  'a list of JSON': (n) => `FROM x\nRUN [${'"a",'.repeat(n / 4)}"b"]`,
  'ONBUILD of ONBUILD': (n) => `FROM x\n${'ONBUILD '.repeat(n / 8)}RUN x`,
  'nested expressions': (n) => `FROM x\nENV A=${'${a:-'.repeat(n / 6)}x${'}'.repeat(n / 6)}`,
  'expressions that are not closed': (n) => `FROM x\nENV A=${'${a:-'.repeat(n / 5)}`,
  'expressions beside each other': (n) => `FROM x\nENV A=${'${a:-b}'.repeat(n / 7)}`,
  'nested quotes in expressions': (n) => `FROM x\nENV A=${'"${a:-'.repeat(n / 12)}${'}"'.repeat(n / 12)}`,
  'quotes in a row': (n) => `FROM x\nENV A=${'""'.repeat(n / 2)}`,
  'single quotes that are not closed': (n) => `FROM x\nENV A=${"\\'".repeat(n / 2)}'`,
  'values that double themselves': (n) => `FROM x\nENV A=xxxxxxxxxxxxxxxx\n${'ENV A=$A$A\n'.repeat(n / 11)}`,
  'values that double themselves in ARG': (n) => `ARG A=xxxxxxxx\n${'ARG A=$A$A\n'.repeat(n / 11)}FROM x`,
  'a long value, many times': (n) => `FROM x\nENV A=${'x'.repeat(n / 2)}\nLABEL ${'a=$A '.repeat(n / 10)}`,
  'a pattern of stars': (n) => `FROM x\nENV A=${'a'.repeat(n / 2)}\nENV B=\${A##${'*a'.repeat(n / 4)}b}`,
  'short patterns on a long value': (n) => `FROM x\nENV A=${'a'.repeat(n / 2)}\nENV ${'B=${A%b*} '.repeat(n / 20)}`,
  'a replaced pattern': (n) => `FROM x\nENV A=${'a'.repeat(n / 2)}\nENV B=\${A//${'a*'.repeat(n / 8)}b/c}`,
  'a replacement that grows': (n) => `FROM x\nENV A=${'a'.repeat(n / 2)}\nENV B=\${A//a/${'b'.repeat(n / 2)}}`,
  'ranges of ports': (n) => `FROM x\nEXPOSE ${'1-65535 '.repeat(n / 8)}`,
  'ranges of ports, in lines': (n) => `FROM x\n${'EXPOSE 1-60000\n'.repeat(Math.min(200, n / 15))}`,
  'variables of different names': (n) => `FROM x\nENV ${repeated(n, (i) => `a${i}=b `)}`,
  labels: (n) => `FROM x\nLABEL ${repeated(n, (i) => `a${i}=b `)}`,
  volumes: (n) => `FROM x\nVOLUME ${repeated(n, (i) => `/a${i} `)}`,
  'triggers for later': (n) => `FROM x\n${'ONBUILD RUN a\n'.repeat(n / 14)}`,
  durations: (n) => `FROM x\nHEALTHCHECK --interval=${'1m'.repeat(n / 2)}x CMD a`,
  'digits of a duration': (n) => `FROM x\nHEALTHCHECK --interval=${'1'.repeat(n)} CMD a`,
  'a long working directory': (n) => `FROM x\nWORKDIR ${'a/'.repeat(n / 2)}`,
  'working directories below each other': (n) => `FROM x\n${'WORKDIR abc\n'.repeat(n / 12)}`,
  'references to stages': (n) => `FROM x AS a\nFROM y\n${'COPY --from=a /x /\n'.repeat(n / 19)}`,
};

/** At most as long; whole pieces. */
function repeated(length: number, piece: (index: number) => string, start = ''): string {
  const pieces = [start];
  let left = length;
  for (let index = 0; ; index += 1) {
    const next = piece(index);
    left -= next.length;
    if (left < 0) return pieces.join('');
    pieces.push(next);
  }
}
