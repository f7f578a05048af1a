// What is counted of HTTP.

import { Counter, type Registry } from 'prom-client';

export class HttpMetrics {
  readonly refused;

  constructor(registry: Registry) {
    this.refused = new Counter({
      name: 'willow_http_refused_total',
      help: 'Requests and connections refused because there were too many, by why.',
      labelNames: ['why'],
      registers: [registry],
    });
  }
}
