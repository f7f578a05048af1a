// Bytes that anybody may have sent, as a text that can be shown anywhere: what a terminal, a log or a page could take for something
// else, or not show at all, is written as an escape. The bytes can be told from the text exactly.

/** Well-formed UTF-8, on bytes that are read as latin1. */
const utf8 =
  '[\\x00-\\x7f]|[\\xc2-\\xdf][\\x80-\\xbf]|\\xe0[\\xa0-\\xbf][\\x80-\\xbf]|[\\xe1-\\xec\\xee\\xef][\\x80-\\xbf]{2}|' +
  '\\xed[\\x80-\\x9f][\\x80-\\xbf]|\\xf0[\\x90-\\xbf][\\x80-\\xbf]{2}|[\\xf1-\\xf3][\\x80-\\xbf]{3}|\\xf4[\\x80-\\x8f][\\x80-\\xbf]{2}';
const textOrByte = new RegExp(`(?:${utf8})+|[\\x80-\\xff]`, 'g');

/** Controls, what turns the direction of writing, what is not shown or shown as a space; and the escape itself. */
const hidden = /[\p{C}\p{DI}\p{Zl}\p{Zp}\u2800\\]|(?! )\p{Zs}/gu;

/** What is no UTF-8 becomes \xNN. */
export function escapedBytes(bytes: Uint8Array): string {
  const latin1 = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1');
  return latin1.replace(textOrByte, (run) => {
    const text = Buffer.from(run, 'latin1').toString('utf8');
    const isByte = run.length === 1 && run >= '\x80';
    return isByte ? `\\x${run.charCodeAt(0).toString(16)}` : escapedText(text);
  });
}

/** What is hidden becomes \uNNNN, or \u{NNNNN}; a backslash becomes two. */
export function escapedText(text: string): string {
  return text.replace(hidden, (character) => {
    if (character === '\\') return '\\\\';
    const code = (character.codePointAt(0) ?? 0).toString(16);
    return code.length > 4 ? `\\u{${code}}` : `\\u${code.padStart(4, '0')}`;
  });
}
