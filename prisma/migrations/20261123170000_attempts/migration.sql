-- CreateIndex
CREATE INDEX "attempts_others" ON "attempts"("endpoint_id", "id") WHERE (outcome <> 'delivered');
