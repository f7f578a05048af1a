// A defect of our own dies loudly: the message or request that met it fails, the process lives.

export class InvariantError extends Error {
  override readonly name = 'InvariantError';
}

export function invariant(condition: unknown, mustHold: string): asserts condition {
  if (!condition) throw new InvariantError(`this must hold: ${mustHold}`);
}
