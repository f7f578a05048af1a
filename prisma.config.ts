import { defineConfig } from 'prisma/config';

// The Prisma CLI looks for a schema engine to download before every command, `generate` and `validate` included, which never run it.
// Naming any executable spares the download; the migrations are applied by src/store/migrate.ts, which needs no engine.
process.env['PRISMA_SCHEMA_ENGINE_BINARY'] ??= process.execPath;

export default defineConfig({ schema: 'prisma/schema.prisma', migrations: { path: 'prisma/migrations' } });
