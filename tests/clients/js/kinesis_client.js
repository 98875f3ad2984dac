// The AWS SDK for JavaScript v3 with its defaults, so HTTP/2 for every call (prior knowledge on
// http://). The same checks as ../python/boto3_client.py, which explains them.

import { createRequire } from "node:module";
import { parseArgs } from "node:util";
import { setTimeout as sleep } from "node:timers/promises";
import {
  CreateStreamCommand,
  DeleteStreamCommand,
  DescribeStreamCommand,
  DescribeStreamSummaryCommand,
  GetRecordsCommand,
  GetShardIteratorCommand,
  KinesisClient,
  ListShardsCommand,
  PutRecordCommand,
  PutRecordsCommand,
  paginateListStreams,
  waitUntilStreamExists,
  waitUntilStreamNotExists,
} from "@aws-sdk/client-kinesis";

// The lowest hash key lies in the first of two even shards, the highest in the second.
const HASH_KEYS = ["0", String(2n ** 128n - 1n)];
const SHARDS = ["shardId-000000000000", "shardId-000000000001"];
const BURSTS = 2;
const BURST_RECORDS = 500;
const BURST_RECORD_BYTES = 5 * 1024;
const DEADLINE_MS = 90_000;
const THROTTLED = "ProvisionedThroughputExceededException";

const { values: options } = parseArgs({
  options: {
    endpoint: { type: "string" },
    stream: { type: "string" },
    "expect-throttle": { type: "boolean", default: false },
  },
});
const kinesis = new KinesisClient({ endpoint: options.endpoint });
const StreamName = options.stream;

function expect(actual, wanted, what) {
  if (JSON.stringify(actual) !== JSON.stringify(wanted)) {
    throw new Error(`${what}: ${JSON.stringify(actual)} instead of ${JSON.stringify(wanted)}`);
  }
}

const text = (data) => Buffer.from(data).toString();

async function createStream() {
  await kinesis.send(new CreateStreamCommand({ StreamName, ShardCount: 2 }));
  await waitUntilStreamExists(
    { client: kinesis, maxWaitTime: 30, minDelay: 1, maxDelay: 1 },
    { StreamName },
  );
  const { StreamDescription } = await kinesis.send(new DescribeStreamCommand({ StreamName }));
  expect(StreamDescription.StreamStatus, "ACTIVE", "DescribeStream status");
  expect(
    StreamDescription.Shards.map((shard) => shard.ShardId),
    SHARDS,
    "DescribeStream shards",
  );
  const summary = await kinesis.send(new DescribeStreamSummaryCommand({ StreamName }));
  expect(summary.StreamDescriptionSummary.OpenShardCount, 2, "DescribeStreamSummary open shards");
  const { Shards } = await kinesis.send(new ListShardsCommand({ StreamName }));
  expect(
    Shards.map((shard) => shard.ShardId),
    SHARDS,
    "ListShards",
  );
  const names = [];
  for await (const page of paginateListStreams({ client: kinesis }, {}))
    names.push(...page.StreamNames);
  expect(names.includes(StreamName), true, "ListStreams has the stream");
}

async function iterator(ShardId, ShardIteratorType, start = {}) {
  const input = { StreamName, ShardId, ShardIteratorType, ...start };
  return (await kinesis.send(new GetShardIteratorCommand(input))).ShardIterator;
}

// Reads until `count` records came and once more, so that a record too many is seen.
async function read(ShardIterator, count) {
  const records = [];
  const deadline = performance.now() + DEADLINE_MS;
  for (let complete = false; !complete;) {
    if (performance.now() > deadline)
      throw new Error(`only ${records.length} of ${count} records came`);
    complete = records.length >= count;
    try {
      const answer = await kinesis.send(new GetRecordsCommand({ ShardIterator }));
      records.push(...answer.Records);
      ShardIterator = answer.NextShardIterator;
    } catch (error) {
      if (error.name !== THROTTLED) throw error;
      // Two MiB and five calls a second for each shard: wait until the shard is out of debt.
      complete = false;
      await sleep(500);
    }
    if (records.length < count) await sleep(200);
  }
  return records;
}

// Five records to each shard, one PutRecord each; returns the data in order per shard.
async function putFive(half) {
  const written = Object.fromEntries(SHARDS.map((shard) => [shard, []]));
  for (let number = 0; number < 5; number++) {
    for (const [index, shard] of SHARDS.entries()) {
      const data = `${shard} ${half} ${number}`;
      const answer = await kinesis.send(
        new PutRecordCommand({
          StreamName,
          Data: Buffer.from(data),
          PartitionKey: `key-${number}`,
          ExplicitHashKey: HASH_KEYS[index],
        }),
      );
      expect(answer.ShardId, shard, "PutRecord shard of an explicit hash key");
      written[shard].push(data);
    }
  }
  return written;
}

async function checkIterators() {
  const latestAtFirst = {};
  for (const shard of SHARDS) latestAtFirst[shard] = await iterator(shard, "LATEST");
  const early = await putFive("early");
  await sleep(1500);
  const late = await putFive("late");
  for (const shard of SHARDS) {
    const everything = [...early[shard], ...late[shard]];
    const check = async (kind, shardIterator, wanted) => {
      const records = await read(shardIterator, wanted.length);
      expect(
        records.map((record) => text(record.Data)),
        wanted,
        `${kind} on ${shard}`,
      );
      return records;
    };
    const records = await check("TRIM_HORIZON", await iterator(shard, "TRIM_HORIZON"), everything);
    const keys = [0, 1, 2, 3, 4, 0, 1, 2, 3, 4].map((number) => `key-${number}`);
    expect(
      records.map((record) => record.PartitionKey),
      keys,
      "partition keys",
    );
    const numbers = records.map((record) => BigInt(record.SequenceNumber));
    expect(
      numbers.slice(1).every((number, i) => number > numbers[i]),
      true,
      "ascending sequence numbers",
    );

    await check("LATEST before the writes", latestAtFirst[shard], everything);
    const StartingSequenceNumber = records[2].SequenceNumber;
    const at = await iterator(shard, "AT_SEQUENCE_NUMBER", { StartingSequenceNumber });
    await check("AT_SEQUENCE_NUMBER", at, everything.slice(2));
    const after = await iterator(shard, "AFTER_SEQUENCE_NUMBER", { StartingSequenceNumber });
    await check("AFTER_SEQUENCE_NUMBER", after, everything.slice(3));
    // Between the halves, so that no rounding of the time matters.
    const Timestamp = new Date(records[4].ApproximateArrivalTimestamp.getTime() + 750);
    await check("AT_TIMESTAMP", await iterator(shard, "AT_TIMESTAMP", { Timestamp }), late[shard]);
    await check("LATEST after the writes", await iterator(shard, "LATEST"), []);
  }
}

const burstName = (burst, number) => `burst ${burst} ${String(number).padStart(3, "0")}`;

// One PutRecords, its over-quota records sent again until none fails; returns how many were
// refused.
async function putUntilIn(burst) {
  let waiting = Array.from({ length: BURST_RECORDS }, (_, number) => ({
    Data: Buffer.from(`${burstName(burst, number)} `.padEnd(BURST_RECORD_BYTES, ".")),
    PartitionKey: `burst-${burst}`,
    ExplicitHashKey: HASH_KEYS[0],
  }));
  let refused = 0;
  const deadline = performance.now() + DEADLINE_MS;
  while (waiting.length > 0) {
    if (performance.now() > deadline)
      throw new Error(`${waiting.length} records were still refused`);
    try {
      const answer = await kinesis.send(new PutRecordsCommand({ StreamName, Records: waiting }));
      expect(answer.Records.length, waiting.length, "PutRecords results");
      const failed = waiting.filter((_, i) => answer.Records[i].ErrorCode !== undefined);
      for (const { ErrorCode, ShardId } of answer.Records) {
        if (ErrorCode === undefined) expect(ShardId, SHARDS[0], "PutRecords shard");
        else expect(ErrorCode, THROTTLED, "PutRecords error code");
      }
      expect(answer.FailedRecordCount ?? 0, failed.length, "FailedRecordCount");
      waiting = failed;
    } catch (error) {
      if (error.name !== THROTTLED) throw error;
    }
    refused += waiting.length;
    if (waiting.length > 0) await sleep(300);
  }
  return refused;
}

async function checkPutRecords() {
  const starts = [await iterator(SHARDS[0], "LATEST"), await iterator(SHARDS[1], "LATEST")];
  const bursts = [...Array(BURSTS).keys()];
  const refusedOfEach = await Promise.all(bursts.map(putUntilIn));
  const refused = refusedOfEach.reduce((sum, count) => sum + count, 0);
  if (options["expect-throttle"] && refused === 0) {
    throw new Error("5 MB at once to a shard of 1 MiB/s, and no record was over quota");
  }
  const wanted = bursts.flatMap((burst) =>
    [...Array(BURST_RECORDS).keys()].map((n) => burstName(burst, n)),
  );
  const records = [...(await read(starts[0], wanted.length)), ...(await read(starts[1], 0))];
  expect(
    records.every((record) => record.Data.length === BURST_RECORD_BYTES),
    true,
    "lengths of the records",
  );
  const came = records.map((record) => text(record.Data).replace(/\.+$/, "").trim());
  expect(came.sort(), wanted, "the records of both PutRecords");
  return refused;
}

const started = performance.now();
const { version } = createRequire(import.meta.url)("@aws-sdk/client-kinesis/package.json");
const result = { client: "aws-sdk-js-v3", version, ok: true, checks: [] };
try {
  await createStream();
  result.checks.push("create, describe, list");
  await checkIterators();
  result.checks.push("five iterator types");
  result.checks.push(`PutRecords, ${await checkPutRecords()} over quota and sent again`);
  await kinesis.send(new DeleteStreamCommand({ StreamName }));
  await waitUntilStreamNotExists(
    { client: kinesis, maxWaitTime: 30, minDelay: 1, maxDelay: 1 },
    { StreamName },
  );
  result.checks.push("delete");
} catch (error) {
  result.ok = false;
  result.error = String(error).slice(0, 2000);
  console.error(`aws-sdk-js-v3: ${error.stack}`);
}
result.seconds = Math.round(performance.now() - started) / 1000;
console.log(JSON.stringify(result));
process.exit(result.ok ? 0 : 1);
