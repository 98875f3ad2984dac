// Subscribes to a shard with the JavaScript SDK's defaults (HTTP/2), writes to it meanwhile and
// splits it: `node subscribe.mjs ENDPOINT STREAM`. Prints what came and the children as one JSON object.
import {
  CreateStreamCommand,
  DescribeStreamSummaryCommand,
  KinesisClient,
  PutRecordCommand,
  RegisterStreamConsumerCommand,
  SplitShardCommand,
  SubscribeToShardCommand,
} from "@aws-sdk/client-kinesis";

const StreamName = process.argv[3];
const kinesis = new KinesisClient({
  endpoint: process.argv[2],
  region: "us-east-1",
  credentials: { accessKeyId: "test", secretAccessKey: "test" },
});
await kinesis.send(new CreateStreamCommand({ StreamName, ShardCount: 1 }));
const described = await kinesis.send(new DescribeStreamSummaryCommand({ StreamName }));
const { Consumer } = await kinesis.send(
  new RegisterStreamConsumerCommand({
    StreamARN: described.StreamDescriptionSummary.StreamARN,
    ConsumerName: "consumer",
  }),
);
const { EventStream } = await kinesis.send(
  new SubscribeToShardCommand({
    ConsumerARN: Consumer.ConsumerARN,
    ShardId: "shardId-000000000000",
    StartingPosition: { Type: "TRIM_HORIZON" },
  }),
);

async function write() {
  for (let number = 0; number < 100; number++) {
    const Data = Buffer.from(String(number));
    await kinesis.send(new PutRecordCommand({ StreamName, PartitionKey: "key", Data }));
  }
  await kinesis.send(
    new SplitShardCommand({
      StreamName,
      ShardToSplit: "shardId-000000000000",
      NewStartingHashKey: (1n << 127n).toString(),
    }),
  );
}

const writing = write();
const records = [];
let children = [];
for await (const { SubscribeToShardEvent: event } of EventStream) {
  records.push(...event.Records.map((record) => Buffer.from(record.Data).toString()));
  children = (event.ChildShards ?? []).map((child) => child.ShardId);
}
await writing;
console.log(JSON.stringify({ records, children }));
process.exit(0);
