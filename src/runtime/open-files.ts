// How many files and sockets this process may have open, as the system tells.

import { readFileSync } from 'node:fs';

/** Null where the system does not say (anything but Linux), or sets no limit. */
export function openFilesMax(): number | null {
  try {
    const [, soft] = /^Max open files +(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8')) ?? [];
    return soft === undefined ? null : Number(soft);
  } catch {
    return null;
  }
}
