// kafkajs with its defaults, the workload of ../python/workload.py: for each codec create a topic
// of 4 partitions, write 1,000 keyed records, read at least half by a group, commit, stop, and go
// on from the commit with a new member. kafkajs has gzip itself and snappy by the package its
// manual names; its lz4 and zstd packages are native code that has to be compiled, so they are not
// tried.

import { createRequire } from "node:module";
import { parseArgs } from "node:util";
import kafkajs from "kafkajs";
import snappy from "kafkajs-snappy";

const { Kafka, CompressionTypes, CompressionCodecs, logLevel } = kafkajs;
CompressionCodecs[CompressionTypes.Snappy] = snappy;

const PARTITIONS = 4;
const RECORDS = 1000;
const KEYS = 50;
const HALF = 500;
const DEADLINE_MS = 60_000;
const CODECS = {
  none: CompressionTypes.None,
  gzip: CompressionTypes.GZIP,
  snappy: CompressionTypes.Snappy,
};

const keyOf = (number) => `key-${String(number % KEYS).padStart(2, "0")}`;
const valueOf = (codec, number) =>
  `${codec} record ${String(number).padStart(4, "0")} ` + "all work and no play ".repeat(5);

function expect(actual, wanted, what) {
  if (JSON.stringify(actual) !== JSON.stringify(wanted)) {
    throw new Error(`${what}: ${JSON.stringify(actual)} instead of ${JSON.stringify(wanted)}`);
  }
}

async function write(kafka, topic, codec) {
  const producer = kafka.producer();
  await producer.connect();
  // Ten sends, as a program does that gets its records bit by bit.
  for (let start = 0; start < RECORDS; start += RECORDS / 10) {
    const messages = [];
    for (let number = start; number < start + RECORDS / 10; number++) {
      messages.push({
        key: keyOf(number),
        value: valueOf(codec, number),
        headers: { number: String(number) },
      });
    }
    await producer.send({ topic, compression: CODECS[codec], messages });
  }
  await producer.disconnect();
}

// One group member: reads until the group has `until` records, leaves; kafkajs commits as it
// leaves.
async function read(kafka, topic, codec, numbers, until) {
  const consumer = kafka.consumer({ groupId: `${topic}-group` });
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  let failure = null;
  await new Promise((resolve, reject) => {
    const timer = setTimeout(
      () => reject(new Error(`${codec}: only ${numbers.length} of ${until} records came`)),
      DEADLINE_MS,
    );
    const done = () => (clearTimeout(timer), resolve());
    const eachMessage = async ({ message }) => {
      try {
        const number = Number(message.value.toString().split(" ")[2]);
        expect(
          message.value.toString(),
          valueOf(codec, number),
          `${codec}: value of record ${number}`,
        );
        expect(message.key.toString(), keyOf(number), `${codec}: key of record ${number}`);
        expect(
          message.headers.number?.toString(),
          String(number),
          `${codec}: header of record ${number}`,
        );
        numbers.push(number);
      } catch (error) {
        failure = error;
        done();
      }
      if (numbers.length >= until) done();
    };
    consumer.run({ eachMessage }).catch(reject);
  });
  await consumer.disconnect();
  if (failure) throw failure;
}

function check(codec, numbers, firstHalfCount) {
  if (firstHalfCount < HALF || firstHalfCount >= RECORDS) {
    throw new Error(
      `${codec}: the first member read ${firstHalfCount} records, so nothing was left`,
    );
  }
  const sorted = [...numbers].sort((a, b) => a - b);
  expect(
    sorted,
    [...Array(RECORDS).keys()],
    `${codec}: the records read, ${firstHalfCount} by the first member`,
  );
  const lastOfKey = new Map();
  for (const number of numbers) {
    const last = lastOfKey.get(number % KEYS) ?? -1;
    if (last > number) throw new Error(`${codec}: record ${number} came after ${last}`);
    lastOfKey.set(number % KEYS, number);
  }
}

async function round(kafka, topic, codec) {
  const admin = kafka.admin();
  await admin.connect();
  await admin.createTopics({
    topics: [{ topic, numPartitions: PARTITIONS }],
    waitForLeaders: true,
  });
  await write(kafka, topic, codec);
  const numbers = [];
  await read(kafka, topic, codec, numbers, HALF);
  const firstHalfCount = numbers.length;
  await read(kafka, topic, codec, numbers, RECORDS);
  check(codec, numbers, firstHalfCount);
  const [offsets] = await admin.fetchOffsets({ groupId: `${topic}-group`, topics: [topic] });
  const committed = offsets.partitions.reduce(
    (sum, { offset }) => sum + Math.max(Number(offset), 0),
    0,
  );
  expect(committed, RECORDS, `${codec}: sum of the group's commits`);
  await admin.disconnect();
}

const { values: options } = parseArgs({
  options: { bootstrap: { type: "string" }, "topic-prefix": { type: "string" } },
});
const started = performance.now();
const { version } = createRequire(import.meta.url)("kafkajs/package.json");
const result = { client: "kafkajs", version, ok: true, checks: [] };
try {
  const kafka = new Kafka({ brokers: [options.bootstrap], logLevel: logLevel.ERROR });
  for (const codec of Object.keys(CODECS)) {
    await round(kafka, `${options["topic-prefix"]}-${codec}`, codec);
    result.checks.push(codec);
  }
} catch (error) {
  result.ok = false;
  result.error = String(error);
  console.error(`kafkajs: ${error.stack}`);
}
result.seconds = Math.round(performance.now() - started) / 1000;
console.log(JSON.stringify(result));
process.exit(result.ok ? 0 : 1);
