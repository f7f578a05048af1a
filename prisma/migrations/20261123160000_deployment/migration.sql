-- CreateTable
CREATE TABLE "deployment" (
    "id" UUID NOT NULL,

    CONSTRAINT "deployment_pkey" PRIMARY KEY ("id")
);

-- What follows Prisma's schema language cannot say.

INSERT INTO "deployment" ("id") VALUES (gen_random_uuid());
