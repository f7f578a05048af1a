// What the calls about the API itself answer, and what the documents say of them.

import { z } from 'zod';
import { named, type Operation } from '../openapi/operation.ts';

const OpenApi = z
  .looseObject({ openapi: z.string().describe('The version of OpenAPI.') })
  .describe('An OpenAPI document: this one.')
  .register(named, { id: 'OpenApi' });

const Page = z.string().describe('A page for a browser.').register(named, { id: 'ApiPage' });
const Script = z.string().describe('The script of the page.').register(named, { id: 'ApiPageScript' });

export const getOpenApi: Operation = {
  id: 'getOpenApi',
  tag: 'operation',
  summary: 'This document',
  description: 'The API in OpenAPI 3.1, for programs that make clients of it.',
  answers: { 200: { description: 'The document.', schema: OpenApi } },
};

export const getApiPage: Operation = {
  id: 'getApiPage',
  tag: 'operation',
  summary: 'This document as a page',
  description: 'For a browser. The page asks nothing of anybody but this process.',
  answers: {
    200: { description: 'The page.', schema: Page, contentType: 'text/html', headers: ['Content-Security-Policy'] },
  },
};

export const getApiPageScript: Operation = {
  id: 'getApiPageScript',
  tag: 'operation',
  summary: 'The script of the page',
  description: 'What shows the document in the page; it comes with Willow.',
  answers: {
    200: {
      description: 'The script.',
      schema: Script,
      contentType: 'text/javascript',
      headers: ['Content-Security-Policy', 'Max-Age'],
    },
  },
};
