# Willow for a place that has a broker and a database: set MQTT_URL, DATABASE_URL, API_KEY and SECRET_KEY. There is no build step, and nobody's
# install script runs. The optional packages are left out: they are the binaries of the embedded PostgreSQL.

FROM node:24-slim AS packages
WORKDIR /willow
COPY package.json package-lock.json ./
RUN npm ci --omit=dev --omit=optional --ignore-scripts

FROM node:24-slim
WORKDIR /willow
COPY --from=packages /willow/node_modules ./node_modules
COPY package.json ./
COPY prisma/migrations ./prisma/migrations
COPY src ./src
# The loopback address of a container reaches nobody. On any other, Willow does not start without API_KEY.
ENV HTTP_HOST=0.0.0.0
EXPOSE 8080
USER node
# SIGTERM settles the batch in hand and gives the ingest lease back; that takes less than five seconds.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.HTTP_PORT || 8080}/healthz`).then(({ ok }) => process.exit(ok ? 0 : 1), () => process.exit(1))"]
CMD ["node", "src/main.ts"]
