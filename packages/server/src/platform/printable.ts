/** Others have a say in what is shown: it must not steer the terminal, nor look like a line of its own. */
export function printable(text: string): string {
  return text.replace(/\p{Cc}/gu, (letter) => `\\x${letter.charCodeAt(0).toString(16).padStart(2, '0')}`);
}
