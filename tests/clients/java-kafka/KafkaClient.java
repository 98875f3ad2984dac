import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.common.utils.AppInfoParser;

/**
 * The Java client with its defaults (acks=all, idempotent), the workload of ../python/workload.py:
 * for each codec create a topic of 4 partitions, write 1,000 keyed records, read at least half by a
 * group, commit, stop, and go on from the commit with a new member.
 */
public final class KafkaClient {

    static final List<String> CODECS = List.of("none", "gzip", "snappy", "lz4", "zstd");
    static final int PARTITIONS = 4;
    static final int RECORDS = 1000;
    static final int KEYS = 50;
    static final int HALF = 500;
    static final Duration DEADLINE = Duration.ofSeconds(60);

    final String bootstrap;

    KafkaClient(String bootstrap) {
        this.bootstrap = bootstrap;
    }

    static String keyOf(int number) {
        return String.format("key-%02d", number % KEYS);
    }

    static String valueOf(String codec, int number) {
        return String.format("%s record %04d ", codec, number) + "all work and no play ".repeat(5);
    }

    static void expect(Object actual, Object wanted, String what) {
        if (!actual.equals(wanted)) {
            throw new IllegalStateException(what + ": " + actual + " instead of " + wanted);
        }
    }

    Map<String, Object> settings(Object... pairs) {
        Map<String, Object> settings = new HashMap<>(Map.of("bootstrap.servers", bootstrap));
        for (int i = 0; i < pairs.length; i += 2) {
            settings.put((String) pairs[i], pairs[i + 1]);
        }
        return settings;
    }

    void write(String topic, String codec) throws Exception {
        var settings = settings("compression.type", codec);
        List<Future<RecordMetadata>> answers = new ArrayList<>();
        try (
            var producer = new KafkaProducer<>(
                settings,
                new StringSerializer(),
                new StringSerializer()
            )
        ) {
            for (int number = 0; number < RECORDS; number++) {
                var record = new ProducerRecord<>(topic, keyOf(number), valueOf(codec, number));
                record.headers().add("number", Integer.toString(number).getBytes());
                answers.add(producer.send(record));
            }
            for (Future<RecordMetadata> answer : answers) {
                answer.get(DEADLINE.toSeconds(), TimeUnit.SECONDS);
            }
        }
    }

    /** What one group reads of one topic, in the order in which it comes. */
    final class Round {

        final String topic;
        final String codec;
        final List<Integer> numbers = new ArrayList<>();
        final Map<String, Integer> partitionOfKey = new HashMap<>();

        Round(String topic, String codec) {
            this.topic = topic;
            this.codec = codec;
        }

        void take(ConsumerRecord<String, String> record) {
            int number = Integer.parseInt(record.value().split(" ", 4)[2]);
            expect(record.value(), valueOf(codec, number), codec + ": value");
            expect(record.key(), keyOf(number), codec + ": key of record " + number);
            Header[] headers = record.headers().toArray();
            expect(headers.length, 1, codec + ": headers of record " + number);
            expect(headers[0].key(), "number", codec + ": header of record " + number);
            expect(
                new String(headers[0].value()),
                Integer.toString(number),
                codec + ": header value"
            );
            Integer before = partitionOfKey.putIfAbsent(record.key(), record.partition());
            expect(
                Optional.ofNullable(before).orElse(record.partition()),
                record.partition(),
                codec + ": partition of " + record.key()
            );
            numbers.add(number);
        }

        /** One group member: reads until the group has {@code until} records, commits, leaves. */
        void read(int until) {
            var settings = settings("group.id", topic + "-group", "auto.offset.reset", "earliest");
            long deadline = System.nanoTime() + DEADLINE.toNanos();
            try (
                var consumer = new KafkaConsumer<>(
                    settings,
                    new StringDeserializer(),
                    new StringDeserializer()
                )
            ) {
                consumer.subscribe(List.of(topic));
                while (numbers.size() < until) {
                    if (System.nanoTime() > deadline) {
                        throw new IllegalStateException(
                            codec + ": only " + numbers.size() + " of " + until
                        );
                    }
                    // Whatever a poll hands over counts as read, so that the commit stands behind
                    // it. A poll hands over at most 500, so that something is always left for the
                    // second member.
                    consumer.poll(Duration.ofSeconds(1)).forEach(this::take);
                }
                consumer.commitSync();
            }
        }

        void check(int firstHalfCount) {
            expect(
                firstHalfCount >= HALF && firstHalfCount < RECORDS,
                true,
                codec + ": a share for both members, with " + firstHalfCount + " for the first"
            );
            expect(numbers.size(), RECORDS, codec + ": records read");
            expect(Set.copyOf(numbers).size(), RECORDS, codec + ": distinct records read");
            Map<String, Integer> lastOfKey = new HashMap<>();
            for (int number : numbers) {
                Integer last = lastOfKey.put(keyOf(number), number);
                expect(last == null || last < number, true, codec + ": order of record " + number);
            }
        }
    }

    void round(String topic, String codec) throws Exception {
        try (Admin admin = Admin.create(settings())) {
            var created = new NewTopic(topic, Optional.of(PARTITIONS), Optional.empty());
            admin.createTopics(List.of(created)).all().get(DEADLINE.toSeconds(), TimeUnit.SECONDS);
            write(topic, codec);
            Round round = new Round(topic, codec);
            round.read(HALF);
            int firstHalfCount = round.numbers.size();
            round.read(RECORDS);
            round.check(firstHalfCount);
        }
        Set<TopicPartition> partitions = new HashSet<>();
        for (int partition = 0; partition < PARTITIONS; partition++) {
            partitions.add(new TopicPartition(topic, partition));
        }
        var settings = settings("group.id", topic + "-group");
        try (
            var consumer = new KafkaConsumer<>(
                settings,
                new StringDeserializer(),
                new StringDeserializer()
            )
        ) {
            long total = 0;
            for (var committed : consumer.committed(partitions).values()) {
                total += committed == null ? 0 : committed.offset();
            }
            expect(total, (long) RECORDS, codec + ": sum of the group's commits");
        }
    }

    static String argument(String[] arguments, String name) {
        return arguments[List.of(arguments).indexOf(name) + 1];
    }

    static String json(String text) {
        return '"' + text.replace("\\", "\\\\").replace("\"", "\\\"").replace("\n", " ") + '"';
    }

    public static void main(String[] arguments) {
        long started = System.nanoTime();
        List<String> checks = new ArrayList<>();
        String error = "";
        try {
            KafkaClient client = new KafkaClient(argument(arguments, "--bootstrap"));
            for (String codec : CODECS) {
                client.round(argument(arguments, "--topic-prefix") + "-" + codec, codec);
                checks.add(json(codec));
            }
        } catch (Exception failure) {
            failure.printStackTrace();
            error = ",\"error\":" + json(failure.toString());
        }
        System.out.printf(
            "{\"client\":\"java\",\"version\":%s,\"ok\":%b%s,\"checks\":%s,\"seconds\":%.3f}%n",
            json(AppInfoParser.getVersion()),
            error.isEmpty(),
            error,
            checks,
            (System.nanoTime() - started) / 1e9
        );
        System.exit(error.isEmpty() ? 0 : 1);
    }
}
