-- AlterTable
ALTER TABLE "log_head" ADD COLUMN     "trimmed" BIGINT NOT NULL DEFAULT 0;

-- CreateTable
CREATE TABLE "endpoints" (
    "id" TEXT NOT NULL,
    "url" TEXT NOT NULL,
    "description" TEXT,
    "events" TEXT[],
    "lanes" SMALLINT NOT NULL,
    "max_batch" SMALLINT NOT NULL,
    "status" TEXT NOT NULL DEFAULT 'enabled',
    "disabled_reason" TEXT,
    "failing_since" TIMESTAMPTZ(3),
    "last_success_at" TIMESTAMPTZ(3),
    "secret" BYTEA NOT NULL,
    "previous_secret" BYTEA,
    "previous_until" TIMESTAMPTZ(3),
    "created_at" TIMESTAMPTZ(3) NOT NULL,
    "updated_at" TIMESTAMPTZ(3) NOT NULL,
    "revision" BIGINT NOT NULL DEFAULT 1,

    CONSTRAINT "endpoints_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "lanes" (
    "endpoint_id" TEXT NOT NULL,
    "generation" INTEGER NOT NULL,
    "lane" SMALLINT NOT NULL,
    "of" SMALLINT NOT NULL,
    "position" BIGINT NOT NULL,
    "until" BIGINT,
    "attempts" INTEGER NOT NULL DEFAULT 0,
    "refusals" SMALLINT NOT NULL DEFAULT 0,
    "first_failed_at" TIMESTAMPTZ(3),
    "next_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "batch" BIGINT[],
    "singles_to" BIGINT,
    "token" BIGINT NOT NULL DEFAULT 0,
    "holder" TEXT,
    "lease_until" TIMESTAMPTZ(3),

    CONSTRAINT "lanes_pkey" PRIMARY KEY ("endpoint_id","generation","lane")
);

-- CreateTable
CREATE TABLE "attempts" (
    "endpoint_id" TEXT NOT NULL,
    "id" BIGSERIAL NOT NULL,
    "webhook_id" TEXT NOT NULL,
    "first_position" BIGINT,
    "last_position" BIGINT,
    "count" INTEGER NOT NULL,
    "at" TIMESTAMPTZ(3) NOT NULL,
    "duration_ms" INTEGER NOT NULL,
    "outcome" TEXT NOT NULL,
    "status" SMALLINT,
    "detail" TEXT,
    "body" TEXT,

    CONSTRAINT "attempts_pkey" PRIMARY KEY ("endpoint_id","id")
);

-- CreateTable
CREATE TABLE "parked" (
    "endpoint_id" TEXT NOT NULL,
    "id" BIGSERIAL NOT NULL,
    "position" BIGINT NOT NULL,
    "event" JSONB NOT NULL,
    "reason" TEXT NOT NULL,
    "parked_at" TIMESTAMPTZ(3) NOT NULL,
    "attempts" INTEGER NOT NULL,
    "status" SMALLINT,
    "detail" TEXT,
    "retry_at" TIMESTAMPTZ(3),

    CONSTRAINT "parked_pkey" PRIMARY KEY ("endpoint_id","id")
);

-- CreateTable
CREATE TABLE "workers" (
    "holder" TEXT NOT NULL,
    "seen_at" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "workers_pkey" PRIMARY KEY ("holder")
);

-- CreateIndex
CREATE INDEX "parked_due" ON "parked"("endpoint_id", "retry_at") WHERE (retry_at IS NOT NULL);

-- CreateIndex
CREATE UNIQUE INDEX "parked_endpoint_id_position_key" ON "parked"("endpoint_id", "position");

-- CreateIndex
CREATE INDEX "lanes_holder" ON "lanes"("holder");

-- AddForeignKey
ALTER TABLE "lanes" ADD CONSTRAINT "lanes_endpoint_id_fkey" FOREIGN KEY ("endpoint_id") REFERENCES "endpoints"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "attempts" ADD CONSTRAINT "attempts_endpoint_id_fkey" FOREIGN KEY ("endpoint_id") REFERENCES "endpoints"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "parked" ADD CONSTRAINT "parked_endpoint_id_fkey" FOREIGN KEY ("endpoint_id") REFERENCES "endpoints"("id") ON DELETE CASCADE ON UPDATE CASCADE;


-- What follows Prisma's schema language cannot say.

-- Lanes move with every delivery: room on the page, so that they are updated in place.
ALTER TABLE "endpoints" SET (fillfactor = 70);
ALTER TABLE "lanes" SET (fillfactor = 50);
ALTER TABLE "workers" SET (fillfactor = 50);

-- An endpoint is disabled for a reason, and only then.
ALTER TABLE "endpoints" ADD CONSTRAINT "endpoints_status_check" CHECK (
    CASE "status" WHEN 'enabled' THEN "disabled_reason" IS NULL WHEN 'disabled' THEN "disabled_reason" IS NOT NULL ELSE FALSE END
);
