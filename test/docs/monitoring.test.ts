// The dashboard and the alerts speak of metrics and labels that there are, and promtool finds that each alert fires when it should, and only then.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { everyMetric, type MetricShape } from '../support/every-metric.ts';
import { namedIn } from '../support/promql.ts';
import { promtool } from '../support/promtool.ts';

const root = new URL('../../', import.meta.url);
const read = (path: string) => readFileSync(new URL(path, root), 'utf8');
const path = (name: string) => new URL(name, root).pathname;

type Rule = {
  readonly alert: string;
  readonly expr: string;
  readonly labels: { readonly severity: string };
  readonly annotations: Readonly<Record<'summary' | 'description' | 'docs', string>>;
};
type Panel = { readonly title: string; readonly targets?: readonly { readonly expr: string }[] };
type Variable = { readonly name: string; readonly definition?: string };
type Dashboard = {
  readonly panels: readonly Panel[];
  readonly templating: { readonly list: readonly Variable[] };
};

const { groups } = parse(read('monitoring/alerts.yaml')) as {
  readonly groups: readonly { readonly rules: readonly Rule[] }[];
};
const rules = groups.flatMap((group) => group.rules);
const dashboard = JSON.parse(read('monitoring/dashboard.json')) as Dashboard;
/** As Grafana fills them in. */
const filled = (expr: string) => expr.replaceAll('$__rate_interval', '5m').replaceAll(/\$(?:job|instance)/g, '.*');
const panels = dashboard.panels.flatMap(({ title, targets = [] }) =>
  targets.map(({ expr }) => [title, filled(expr)] as const),
);

const metrics = new Map<string, MetricShape>();
let directory: string;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'willow-rules-'));
  for (const metric of await everyMetric()) metrics.set(metric.name, metric);
});

afterAll(() => rmSync(directory, { recursive: true }));

/** What the expression names and nobody serves: series, labels. */
function madeUp(expression: string): readonly string[] {
  const named = namedIn(expression);
  expect(named.length, expression).toBeGreaterThan(0);
  // A label to group by must be one of some series of the expression; one in a selector, of its own.
  const known = new Set(named.flatMap(({ series }) => labelsOf(series) ?? []));
  return named.flatMap(({ series, labels, groupedBy }) => {
    const own = labelsOf(series);
    if (own === null) return [series];
    const strange = [
      ...labels.filter((label) => !own.includes(label)),
      ...groupedBy.filter((label) => !known.has(label)),
    ];
    return strange.map((label) => `${series}{${label}}`);
  });
}

/** Null where there is no such series. */
function labelsOf(series: string): readonly string[] | null {
  const scraped = ['job', 'instance'];
  const histogram = metrics.get(series.replace(/_(?:bucket|sum|count)$/, ''));
  const metric = metrics.get(series);
  if (metric !== undefined && metric.type !== 'histogram') return [...metric.labels, ...scraped];
  if (histogram?.type !== 'histogram' || histogram.name === series) return null;
  return [...histogram.labels, ...scraped, ...(series.endsWith('_bucket') ? ['le'] : [])];
}

test('what an expression names is found, so that nothing that is not there escapes', () => {
  expect(
    namedIn('sum by (a) (rate(x_total{b=~"c{d}",e!="f"}[5m])) / on (g) y offset 1h > bool 0 and vector(1)'),
  ).toEqual([
    { series: 'x_total', labels: ['b', 'e'], groupedBy: ['a', 'g'] },
    { series: 'y', labels: [], groupedBy: ['a', 'g'] },
  ]);
  expect(madeUp('rate(willow_messages_totals[5m])')).toEqual(['willow_messages_totals']);
  expect(madeUp('willow_commit_seconds')).toEqual(['willow_commit_seconds']);
  expect(madeUp('willow_link_up{reason="x"} and willow_quarantined_total')).toEqual(['willow_link_up{reason}']);
  expect(madeUp('sum by (nobody) (willow_link_up)')).toEqual(['willow_link_up{nobody}']);
});

describe('the alerts', () => {
  test('are rules that Prometheus takes', () => {
    expect(promtool(['check', 'rules', path('monitoring/alerts.yaml')])).toMatchObject({ status: 0 });
  });

  test('fire when they should, and when all is well none does', () => {
    const judged = promtool(['test', 'rules', path('monitoring/alerts.test.yaml')]);
    expect(judged, judged.said).toMatchObject({ status: 0 });
    const tested = read('monitoring/alerts.test.yaml');
    for (const { alert } of rules) expect(tested).toContain(alert);
  });

  test.each(rules)('$alert speaks of what there is, and says what to do', ({ expr, labels, annotations }) => {
    expect(madeUp(expr)).toEqual([]);
    expect(labels.severity).toMatch(/^(?:critical|warning)$/);
    expect(annotations.summary).toMatch(/[\w})]\.$/);
    expect(annotations.description).toMatch(/[\w})]\.$/);
    const [file = '', anchor] = annotations.docs.split('#');
    const headings = [...read(file).matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) => heading);
    const anchors = headings.map((heading) =>
      heading
        .toLowerCase()
        .replaceAll(/[^\w -]/g, '')
        .replaceAll(' ', '-'),
    );
    if (anchor !== undefined) expect(anchors).toContain(anchor);
  });
});

describe('the dashboard', () => {
  test.each(panels)('%s: %s', (_title, expr) => {
    expect(madeUp(expr)).toEqual([]);
  });

  test('is PromQL throughout', () => {
    const recorded = panels.map(([, expr], index) => ({ record: `panel:${index}`, expr }));
    const file = join(directory, 'panels.yaml');
    writeFileSync(file, JSON.stringify({ groups: [{ name: 'panels', rules: recorded }] }));
    const judged = promtool(['check', 'rules', file]);
    expect(judged, judged.said).toMatchObject({ status: 0 });
  });

  test('lets whoever imports it choose the Prometheus, and asks only that one', () => {
    const { list } = dashboard.templating;
    expect(list.map(({ name }) => name)).toEqual(['datasource', 'job', 'instance']);
    for (const { definition } of list) if (definition !== undefined) expect(definition).toContain('willow_build_info');
    const sources = [...JSON.stringify(dashboard).matchAll(/"uid":"([^"]+)"/g)].map(([, uid]) => uid);
    expect(new Set(sources)).toEqual(new Set(['$' + '{datasource}', 'willow']));
  });

  test('shows every metric of ours', () => {
    const shown = new Set(panels.flatMap(([, expr]) => namedIn(expr).map(({ series }) => series)));
    const missing = [...metrics.values()].filter(({ name, type }) => {
      const series = type === 'histogram' ? `${name}_bucket` : name;
      return name.startsWith('willow_') && !shown.has(series);
    });
    expect(missing.map(({ name }) => name)).toEqual(['willow_messages_total']);
  });
});
