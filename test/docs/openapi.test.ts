// docs/openapi.json is what GET /openapi.json answers, and says all there is to say of every route.

import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { openApiPath, openApiText } from '../../docs/openapi.ts';

test('the document in the repository is the one that is served: `npm run docs` writes it', async () => {
  expect(readFileSync(openApiPath, 'utf8')).toBe(await openApiText());
});
