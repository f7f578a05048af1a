// The API as any caller sees it: status, headers and JSON.

type Answer<Body> = {
  readonly status: number;
  readonly headers: Headers;
  /** Null where the answer has none. */
  readonly body: Body;
};

export type ProblemBody = {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail?: string;
};

type PageBody<Item> = { readonly data: readonly Item[]; readonly nextCursor: string | null };

export async function call<Body = unknown>(url: string, options: RequestInit = {}): Promise<Answer<Body>> {
  const response = await fetch(url, options);
  const text = await response.text();
  const { status, headers } = response;
  return { status, headers, body: (text === '' ? null : JSON.parse(text)) as Body };
}

/** Every item of a list, read page by page, and how many pages that were. */
export async function readPages<Item>(
  url: string,
  limit: number,
  headers: Readonly<Record<string, string>> = {},
): Promise<{ items: readonly Item[]; pages: number }> {
  const items: Item[] = [];
  let pages = 0;
  let cursor: string | null = '';
  while (cursor !== null) {
    const page: PageBody<Item> = await readPage(
      `${url}${url.includes('?') ? '&' : '?'}limit=${limit}${cursor === '' ? '' : `&cursor=${cursor}`}`,
      headers,
    );
    if (page.data.length > limit) throw new Error(`${url} gave ${page.data.length} items for a limit of ${limit}`);
    items.push(...page.data);
    cursor = page.nextCursor;
    pages += 1;
  }
  return { items, pages };
}

async function readPage<Item>(url: string, headers: Readonly<Record<string, string>>): Promise<PageBody<Item>> {
  const { status, body } = await call<PageBody<Item>>(url, { headers });
  if (status !== 200) throw new Error(`${url} answered ${status}: ${JSON.stringify(body)}`);
  return body;
}
