-- AlterTable
ALTER TABLE "sessions" ADD COLUMN     "key_id" TEXT;

-- CreateTable
CREATE TABLE "ticket_keys" (
    "key_id" TEXT NOT NULL,
    "sealed" BYTEA NOT NULL,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "ticket_keys_pkey" PRIMARY KEY ("key_id")
);

-- CreateTable
CREATE TABLE "idempotency" (
    "caller" TEXT NOT NULL,
    "key" TEXT NOT NULL,
    "digest" BYTEA NOT NULL,
    "user_id" TEXT NOT NULL,
    "session_id" TEXT NOT NULL,
    "issued_at" BIGINT NOT NULL,
    "done" BOOLEAN NOT NULL,
    "at" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "idempotency_pkey" PRIMARY KEY ("caller","key")
);

-- CreateIndex
CREATE INDEX "idempotency_at" ON "idempotency"("at");

-- CreateIndex
CREATE INDEX "idempotency_user" ON "idempotency"("user_id");

-- AlterTable
ALTER TABLE "parked" ADD COLUMN     "user_id" TEXT GENERATED ALWAYS AS ("event" ->> 'userId') STORED;

-- CreateIndex
CREATE INDEX "parked_user" ON "parked"("user_id");
