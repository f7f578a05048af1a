// A process of its own that owns an embedded database until it is killed. Arguments: the data directory.
// Prints one line of JSON: the URL, or the name and message of the error that prevented it.
import { startEmbeddedDatabase } from '../../src/embedded/database.ts';

// What stays open for a test is the server, whatever Ctrl-C does.
process.on('SIGINT', () => undefined);

try {
  const { url } = await startEmbeddedDatabase({ dataDir: process.argv[2] ?? '' });
  process.stdout.write(`${JSON.stringify({ url })}\n`);
} catch (error) {
  const { name, message } = error as Error;
  process.stdout.write(`${JSON.stringify({ name, message })}\n`);
}
