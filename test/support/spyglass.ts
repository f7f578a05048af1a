// Whoever looks for secrets in what a process shows: each of them as it is, and in the forms in which it would slip through unnoticed.

export type Shown = {
  /** From here on it must not be seen. */
  readonly hide: (what: string, secret: string) => string;
  /** What the process shows, and where. */
  readonly show: (where: string, text: string) => void;
  /** Which secrets are seen where. */
  readonly seen: () => readonly string[];
  readonly hidden: () => number;
};

/** Shorter ones would be found by accident. */
const secretLengthMin = 12;

export function openSpyglass(): Shown {
  const secrets = new Map<string, string>();
  const shown: { readonly where: string; readonly text: string }[] = [];
  return {
    hide: (what, secret) => {
      if (secret.length < secretLengthMin) throw new Error(`${what} is too short to be looked for: ${secret.length}`);
      secrets.set(what, secret);
      return secret;
    },
    show: (where, text) => {
      shown.push({ where, text });
    },
    seen: () =>
      [...secrets].flatMap(([what, secret]) =>
        shown.flatMap(({ where, text }) =>
          formsOf(secret).some((form) => text.includes(form)) ? [`${what} in ${where}`] : [],
        ),
      ),
    hidden: () => secrets.size,
  };
}

function formsOf(secret: string): readonly string[] {
  const bytes = Buffer.from(secret);
  const quoted = JSON.stringify(secret).slice(1, -1);
  // Of base64 the part that does not hang on what stands behind it.
  const base64 = bytes.toString('base64').replace(/.{0,3}=*$/u, '');
  return [
    secret,
    quoted,
    encodeURIComponent(secret),
    bytes.toString('hex'),
    base64,
    base64.replaceAll('+', '-').replaceAll('/', '_'),
  ];
}
