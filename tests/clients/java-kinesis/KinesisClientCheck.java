import java.math.BigInteger;
import java.net.URI;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletionException;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import software.amazon.awssdk.core.SdkBytes;
import software.amazon.awssdk.core.util.VersionInfo;
import software.amazon.awssdk.core.waiters.WaiterOverrideConfiguration;
import software.amazon.awssdk.retries.api.BackoffStrategy;
import software.amazon.awssdk.services.kinesis.KinesisAsyncClient;
import software.amazon.awssdk.services.kinesis.KinesisClient;
import software.amazon.awssdk.services.kinesis.model.GetRecordsResponse;
import software.amazon.awssdk.services.kinesis.model.GetShardIteratorRequest;
import software.amazon.awssdk.services.kinesis.model.ProvisionedThroughputExceededException;
import software.amazon.awssdk.services.kinesis.model.PutRecordsRequestEntry;
import software.amazon.awssdk.services.kinesis.model.PutRecordsResponse;
import software.amazon.awssdk.services.kinesis.model.PutRecordsResultEntry;
import software.amazon.awssdk.services.kinesis.model.Record;
import software.amazon.awssdk.services.kinesis.model.Shard;
import software.amazon.awssdk.services.kinesis.model.ShardIteratorType;
import software.amazon.awssdk.services.kinesis.model.StreamStatus;
import software.amazon.awssdk.services.kinesis.model.SubscribeToShardEvent;
import software.amazon.awssdk.services.kinesis.model.SubscribeToShardResponseHandler;

/**
 * The AWS SDK for Java v2 with its defaults, so CBOR: everything once with the synchronous client
 * (HTTP/1.1), and again with the data calls made by the asynchronous one. The same checks as
 * ../python/boto3_client.py, which explains them.
 */
public final class KinesisClientCheck {

    /** The lowest hash key lies in the first of two even shards, the highest in the second. */
    static final List<String> HASH_KEYS = List.of(
        "0",
        BigInteger.TWO.pow(128).subtract(BigInteger.ONE).toString()
    );
    /** In the middle of the second shard. */
    static final String THREE_QUARTERS = BigInteger.TWO.pow(126)
        .multiply(BigInteger.valueOf(3))
        .toString();
    static final List<String> SHARDS = List.of("shardId-000000000000", "shardId-000000000001");
    static final int BURSTS = 2;
    static final int BURST_RECORDS = 500;
    static final int BURST_RECORD_BYTES = 5 * 1024;
    static final Duration DEADLINE = Duration.ofSeconds(90);
    static final String THROTTLED = "ProvisionedThroughputExceededException";

    /** The calls that both kinds of client make in the same way. */
    interface Calls {
        GetRecordsResponse getRecords(String iterator);

        PutRecordsResponse putRecords(List<PutRecordsRequestEntry> entries);

        /** Splits the second shard while it is read. */
        void checkReshard(KinesisClientCheck check) throws Exception;

        String reshardChecked();
    }

    final KinesisClient kinesis;
    final String stream;

    KinesisClientCheck(KinesisClient kinesis, String stream) {
        this.kinesis = kinesis;
        this.stream = stream;
    }

    static void expect(Object actual, Object wanted, String what) {
        if (!actual.equals(wanted)) {
            throw new IllegalStateException(what + ": " + actual + " instead of " + wanted);
        }
    }

    static List<String> ids(List<Shard> shards) {
        return shards.stream().map(Shard::shardId).toList();
    }

    static List<String> texts(List<Record> records) {
        return records
            .stream()
            .map(record -> record.data().asUtf8String())
            .toList();
    }

    void createStream() {
        kinesis.createStream(request -> request.streamName(stream).shardCount(2));
        kinesis
            .waiter()
            .waitUntilStreamExists(request -> request.streamName(stream), this::oftenEnough);
        var description = kinesis
            .describeStream(request -> request.streamName(stream))
            .streamDescription();
        expect(description.streamStatus(), StreamStatus.ACTIVE, "DescribeStream status");
        expect(ids(description.shards()), SHARDS, "DescribeStream shards");
        var summary = kinesis.describeStreamSummary(request -> request.streamName(stream));
        expect(
            summary.streamDescriptionSummary().openShardCount(),
            2,
            "DescribeStreamSummary open shards"
        );
        expect(
            ids(kinesis.listShards(request -> request.streamName(stream)).shards()),
            SHARDS,
            "ListShards"
        );
        var names = kinesis.listStreamsPaginator().streamNames().stream().toList();
        expect(names.contains(stream), true, "ListStreams has the stream");
    }

    /** A waiter asks each ten seconds unless it is told otherwise. */
    void oftenEnough(WaiterOverrideConfiguration.Builder waiter) {
        waiter
            .backoffStrategyV2(BackoffStrategy.fixedDelayWithoutJitter(Duration.ofSeconds(1)))
            .maxAttempts(30);
    }

    String iterator(
        String shard,
        ShardIteratorType type,
        String sequenceNumber,
        Instant timestamp
    ) {
        var request = GetShardIteratorRequest.builder()
            .streamName(stream)
            .shardId(shard)
            .shardIteratorType(type);
        request.startingSequenceNumber(sequenceNumber).timestamp(timestamp);
        return kinesis.getShardIterator(request.build()).shardIterator();
    }

    /** Reads until {@code count} records came and once more, so that a record too many is seen. */
    List<Record> read(Calls calls, String iterator, int count) throws InterruptedException {
        Instant deadline = Instant.now().plus(DEADLINE);
        List<Record> records = new ArrayList<>();
        boolean complete = false;
        while (!complete) {
            expect(
                Instant.now().isBefore(deadline),
                true,
                records.size() + " of " + count + " records came in time"
            );
            complete = records.size() >= count;
            try {
                GetRecordsResponse answer = calls.getRecords(iterator);
                records.addAll(answer.records());
                iterator = answer.nextShardIterator();
            } catch (ProvisionedThroughputExceededException overQuota) {
                // Two MiB and five calls a second for each shard: wait until it is out of debt.
                complete = false;
                Thread.sleep(500);
            }
            if (records.size() < count) {
                Thread.sleep(200);
            }
        }
        return records;
    }

    /** Five records to each shard, one PutRecord each; the data in order per shard. */
    List<List<String>> putFive(String half) {
        List<List<String>> written = List.of(new ArrayList<>(), new ArrayList<>());
        for (int number = 0; number < 5; number++) {
            for (int index = 0; index < SHARDS.size(); index++) {
                String data = SHARDS.get(index) + " " + half + " " + number;
                String key = "key-" + number;
                String hashKey = HASH_KEYS.get(index);
                var answer = kinesis.putRecord(request ->
                    request
                        .streamName(stream)
                        .data(SdkBytes.fromUtf8String(data))
                        .partitionKey(key)
                        .explicitHashKey(hashKey)
                );
                expect(
                    answer.shardId(),
                    SHARDS.get(index),
                    "PutRecord shard of an explicit hash key"
                );
                written.get(index).add(data);
            }
        }
        return written;
    }

    void checkIterators(Calls calls) throws InterruptedException {
        var latestAtFirst = SHARDS.stream()
            .map(shard -> iterator(shard, ShardIteratorType.LATEST, null, null))
            .toList();
        var early = putFive("early");
        Thread.sleep(1500);
        var late = putFive("late");
        for (int index = 0; index < SHARDS.size(); index++) {
            var everything = Stream.concat(
                early.get(index).stream(),
                late.get(index).stream()
            ).toList();
            var records = read(calls, latestAtFirst.get(index), everything.size());
            expect(texts(records), everything, "LATEST before the writes");
            checkIteratorsOf(calls, SHARDS.get(index), everything);
        }
    }

    /** Each iterator type on a shard that holds {@code everything}, with a pause in its middle. */
    void checkIteratorsOf(Calls calls, String shard, List<String> everything)
        throws InterruptedException {
        var records = read(
            calls,
            iterator(shard, ShardIteratorType.TRIM_HORIZON, null, null),
            everything.size()
        );
        expect(texts(records), everything, "TRIM_HORIZON on " + shard);
        var keys = IntStream.range(0, 10)
            .mapToObj(number -> "key-" + (number % 5))
            .toList();
        expect(records.stream().map(Record::partitionKey).toList(), keys, "partition keys");
        var numbers = records
            .stream()
            .map(record -> new BigInteger(record.sequenceNumber()))
            .toList();
        expect(
            numbers,
            numbers.stream().sorted().distinct().toList(),
            "ascending sequence numbers"
        );

        String third = records.get(2).sequenceNumber();
        String at = iterator(shard, ShardIteratorType.AT_SEQUENCE_NUMBER, third, null);
        expect(
            texts(read(calls, at, 8)),
            everything.subList(2, 10),
            "AT_SEQUENCE_NUMBER on " + shard
        );
        String after = iterator(shard, ShardIteratorType.AFTER_SEQUENCE_NUMBER, third, null);
        expect(
            texts(read(calls, after, 7)),
            everything.subList(3, 10),
            "AFTER_SEQUENCE_NUMBER on " + shard
        );
        // Between the halves, so that no rounding of the time matters.
        Instant pause = records.get(4).approximateArrivalTimestamp().plusMillis(750);
        String byTime = iterator(shard, ShardIteratorType.AT_TIMESTAMP, null, pause);
        expect(
            texts(read(calls, byTime, 5)),
            everything.subList(5, 10),
            "AT_TIMESTAMP on " + shard
        );
        String latest = iterator(shard, ShardIteratorType.LATEST, null, null);
        expect(texts(read(calls, latest, 0)), List.of(), "LATEST after the writes on " + shard);
    }

    static String burstName(int burst, int number) {
        return String.format("burst %d %03d", burst, number);
    }

    /** One PutRecords, what was over quota sent again until all is in; how many were refused. */
    int putUntilIn(Calls calls, int burst) throws InterruptedException {
        Instant deadline = Instant.now().plus(DEADLINE);
        List<PutRecordsRequestEntry> waiting = new ArrayList<>();
        for (int number = 0; number < BURST_RECORDS; number++) {
            String name = burstName(burst, number) + " ";
            String data = name + ".".repeat(BURST_RECORD_BYTES - name.length());
            waiting.add(
                PutRecordsRequestEntry.builder()
                    .data(SdkBytes.fromUtf8String(data))
                    .partitionKey("burst-" + burst)
                    .explicitHashKey(HASH_KEYS.get(0))
                    .build()
            );
        }
        int refused = 0;
        while (true) {
            try {
                waiting = failed(waiting, calls.putRecords(waiting));
            } catch (ProvisionedThroughputExceededException overQuota) {
                // All of them: the request as a whole was refused.
            }
            refused += waiting.size();
            if (waiting.isEmpty()) {
                return refused;
            }
            expect(
                Instant.now().isBefore(deadline),
                true,
                waiting.size() + " records are in in time"
            );
            Thread.sleep(300);
        }
    }

    /** The records of a request that its answer refuses for want of quota. */
    static List<PutRecordsRequestEntry> failed(
        List<PutRecordsRequestEntry> sent,
        PutRecordsResponse answer
    ) {
        expect(answer.records().size(), sent.size(), "PutRecords results");
        List<PutRecordsRequestEntry> again = new ArrayList<>();
        for (int i = 0; i < sent.size(); i++) {
            PutRecordsResultEntry result = answer.records().get(i);
            if (result.errorCode() == null) {
                expect(result.shardId(), SHARDS.get(0), "PutRecords shard");
            } else {
                expect(result.errorCode(), THROTTLED, "PutRecords error code");
                again.add(sent.get(i));
            }
        }
        int count = answer.failedRecordCount() == null ? 0 : answer.failedRecordCount();
        expect(count, again.size(), "FailedRecordCount");
        return again;
    }

    int checkPutRecords(Calls calls) throws Exception {
        var starts = SHARDS.stream()
            .map(shard -> iterator(shard, ShardIteratorType.LATEST, null, null))
            .toList();
        List<Future<Integer>> bursts = new ArrayList<>();
        List<String> wanted = new ArrayList<>();
        ExecutorService threads = Executors.newFixedThreadPool(BURSTS);
        for (int burst = 0; burst < BURSTS; burst++) {
            int number = burst;
            bursts.add(threads.submit(() -> putUntilIn(calls, number)));
            IntStream.range(0, BURST_RECORDS).forEach(i -> wanted.add(burstName(number, i)));
        }
        threads.shutdown();
        int refused = 0;
        for (Future<Integer> burst : bursts) {
            refused += burst.get();
        }
        List<Record> records = read(calls, starts.get(0), wanted.size());
        expect(read(calls, starts.get(1), 0).size(), 0, "records in the other shard");
        for (Record record : records) {
            expect(
                record.data().asByteArrayUnsafe().length,
                BURST_RECORD_BYTES,
                "length of a record"
            );
        }
        var came = texts(records)
            .stream()
            .map(text -> text.replaceAll("[. ]+$", ""))
            .sorted()
            .toList();
        expect(came.equals(wanted), true, "GetRecords returns each record of both PutRecords once");
        return refused;
    }

    /** Numbered records with the highest hash key. */
    List<String> putPushed(int from, int to) {
        List<String> written = new ArrayList<>();
        for (int number = from; number < to; number++) {
            String data = "pushed " + number;
            kinesis.putRecord(request ->
                request
                    .streamName(stream)
                    .data(SdkBytes.fromUtf8String(data))
                    .partitionKey("pushed")
                    .explicitHashKey(HASH_KEYS.get(1))
            );
            written.add(data);
        }
        return written;
    }

    void split() {
        kinesis.splitShard(request ->
            request
                .streamName(stream)
                .shardToSplit(SHARDS.get(1))
                .newStartingHashKey(THREE_QUARTERS)
        );
    }

    /** Reads the second shard by iterators to its end while it is split; the rest is in a child. */
    void checkReshardByIterators(Calls calls) throws Exception {
        String iterator = iterator(SHARDS.get(1), ShardIteratorType.LATEST, null, null);
        var ofParent = putPushed(0, 25);
        split();
        var ofChild = putPushed(25, 50);
        List<Record> records = new ArrayList<>();
        List<String> children = List.of();
        while (iterator != null) {
            try {
                GetRecordsResponse answer = calls.getRecords(iterator);
                records.addAll(answer.records());
                iterator = answer.nextShardIterator();
                children = answer.childShards().stream().map(child -> child.shardId()).toList();
            } catch (ProvisionedThroughputExceededException overQuota) {
                Thread.sleep(500);
            }
        }
        expect(texts(records), ofParent, "the parent, read to its end");
        checkUpperChild(calls, children, ofChild);
    }

    void checkUpperChild(Calls calls, List<String> children, List<String> wanted)
        throws InterruptedException {
        expect(children.size(), 2, "children at the end of the parent");
        String start = iterator(children.get(1), ShardIteratorType.TRIM_HORIZON, null, null);
        expect(texts(read(calls, start, wanted.size())), wanted, "the upper child");
    }

    /** Is pushed the records of the second shard while that is split, to its end. */
    void checkSubscription(KinesisAsyncClient async, Calls calls) throws Exception {
        String arn = kinesis
            .describeStreamSummary(request -> request.streamName(stream))
            .streamDescriptionSummary()
            .streamARN();
        String consumer = kinesis
            .registerStreamConsumer(request -> request.streamARN(arn).consumerName("consumer"))
            .consumer()
            .consumerARN();
        List<String> came = new ArrayList<>();
        List<String> children = new ArrayList<>();
        var begun = new CountDownLatch(1);
        var handler = SubscribeToShardResponseHandler.builder()
            .onResponse(response -> begun.countDown())
            .subscriber(event -> {
                if (event instanceof SubscribeToShardEvent pushed) {
                    came.addAll(texts(pushed.records()));
                    pushed.childShards().forEach(child -> children.add(child.shardId()));
                }
            })
            .build();
        var ended = async.subscribeToShard(
            request ->
                request
                    .consumerARN(consumer)
                    .shardId(SHARDS.get(1))
                    .startingPosition(position -> position.type(ShardIteratorType.LATEST)),
            handler
        );
        expect(begun.await(30, TimeUnit.SECONDS), true, "the subscription begins");
        var ofParent = putPushed(0, 25);
        split();
        var ofChild = putPushed(25, 50);
        ended.get(60, TimeUnit.SECONDS);
        expect(came, ofParent, "what the subscription gave");
        checkUpperChild(calls, children, ofChild);
        kinesis.deregisterStreamConsumer(request -> request.consumerARN(consumer));
    }

    void deleteStream() {
        kinesis.deleteStream(request -> request.streamName(stream));
        kinesis
            .waiter()
            .waitUntilStreamNotExists(request -> request.streamName(stream), this::oftenEnough);
    }

    static Calls callsOf(KinesisClient kinesis, String stream) {
        return new Calls() {
            public GetRecordsResponse getRecords(String iterator) {
                return kinesis.getRecords(request -> request.shardIterator(iterator));
            }

            public PutRecordsResponse putRecords(List<PutRecordsRequestEntry> entries) {
                return kinesis.putRecords(request -> request.streamName(stream).records(entries));
            }

            public void checkReshard(KinesisClientCheck check) throws Exception {
                check.checkReshardByIterators(this);
            }

            public String reshardChecked() {
                return "a reshard in flight";
            }
        };
    }

    static Calls callsOf(KinesisAsyncClient kinesis, String stream) {
        return new Calls() {
            public GetRecordsResponse getRecords(String iterator) {
                try {
                    return kinesis.getRecords(request -> request.shardIterator(iterator)).join();
                } catch (CompletionException failure) {
                    throw unwrap(failure);
                }
            }

            public PutRecordsResponse putRecords(List<PutRecordsRequestEntry> entries) {
                try {
                    return kinesis
                        .putRecords(request -> request.streamName(stream).records(entries))
                        .join();
                } catch (CompletionException failure) {
                    throw unwrap(failure);
                }
            }

            public void checkReshard(KinesisClientCheck check) throws Exception {
                check.checkSubscription(kinesis, this);
            }

            public String reshardChecked() {
                return "a subscription and a reshard in flight";
            }
        };
    }

    static RuntimeException unwrap(CompletionException failure) {
        return failure.getCause() instanceof RuntimeException cause ? cause : failure;
    }

    void run(Calls calls, String kind, boolean expectThrottle, List<String> checks)
        throws Exception {
        createStream();
        checks.add(json(kind + ": create, describe, list"));
        checkIterators(calls);
        checks.add(json(kind + ": five iterator types"));
        int refused = checkPutRecords(calls);
        expect(
            refused > 0 || !expectThrottle,
            true,
            "5 MB at once to a shard of 1 MiB/s are over quota"
        );
        checks.add(json(kind + ": PutRecords, " + refused + " over quota and sent again"));
        calls.checkReshard(this);
        checks.add(json(kind + ": " + calls.reshardChecked()));
        deleteStream();
        checks.add(json(kind + ": delete"));
    }

    static String argument(List<String> arguments, String name) {
        return arguments.get(arguments.indexOf(name) + 1);
    }

    static String json(String text) {
        return '"' + text.replace("\\", "\\\\").replace("\"", "\\\"").replace("\n", " ") + '"';
    }

    public static void main(String[] values) {
        long started = System.nanoTime();
        List<String> arguments = List.of(values);
        URI endpoint = URI.create(argument(arguments, "--endpoint"));
        String stream = argument(arguments, "--stream");
        boolean expectThrottle = arguments.contains("--expect-throttle");
        List<String> checks = new ArrayList<>();
        String error = "";
        try (
            var sync = KinesisClient.builder().endpointOverride(endpoint).build();
            var async = KinesisAsyncClient.builder().endpointOverride(endpoint).build()
        ) {
            new KinesisClientCheck(sync, stream + "-sync").run(
                callsOf(sync, stream + "-sync"),
                "sync",
                expectThrottle,
                checks
            );
            new KinesisClientCheck(sync, stream + "-async").run(
                callsOf(async, stream + "-async"),
                "async",
                expectThrottle,
                checks
            );
        } catch (Exception failure) {
            failure.printStackTrace();
            error = ",\"error\":" + json(failure.toString());
        }
        System.out.printf(
            "{\"client\":\"aws-sdk-java-v2\",\"version\":%s,\"ok\":%b%s,\"checks\":%s,\"seconds\":%.3f}%n",
            json(VersionInfo.SDK_VERSION),
            error.isEmpty(),
            error,
            checks,
            (System.nanoTime() - started) / 1e9
        );
        System.exit(error.isEmpty() ? 0 : 1);
    }
}
