/** The URL of another database on the same server. */
export function databaseAt(url: string, database: string): string {
  const other = new URL(url);
  other.pathname = `/${database}`;
  return other.href;
}

/** The URL of the same database by way of a proxy. */
export function databaseThrough(proxyPort: number, url: string): string {
  const other = new URL(url);
  other.port = String(proxyPort);
  return other.href;
}
