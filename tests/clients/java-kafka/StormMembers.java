import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import org.apache.kafka.clients.consumer.CloseOptions;
import org.apache.kafka.clients.consumer.CloseOptions.GroupMembershipOperation;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.InterruptException;
import org.apache.kafka.common.errors.UnknownMemberIdException;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * The Java part of the rebalance storm (../../storm/storm.py):
 * {@code StormMembers BOOTSTRAP TOPIC GROUP MODE MEMBERS SEED}. Members of one group, a thread
 * each, that join, leave, stop polling for longer than they may, and close without a word to the
 * broker. (What stops their heartbeats too is a SIGSTOP of the whole process, from outside.) Each
 * thing that happens is a line of JSON on standard output, as ../go/storm writes them. On standard
 * input comes "quiet", after which members only join, then "stop".
 */
public final class StormMembers {

    static final int MAX_POLL_INTERVAL_MS = 8000;
    static final long POLL_PAUSE_MS = 150;

    static volatile boolean isQuiet;

    /** A line to standard output, stamped with CLOCK_MONOTONIC under the lock of the stream. */
    static void say(String member, String event, int generation, String more) {
        synchronized (System.out) {
            System.out.printf(
                "{\"at\":%d,\"event\":\"%s\",\"member\":\"%s\",\"generation\":%d%s}%n",
                System.nanoTime(),
                event,
                member,
                generation,
                more
            );
            System.out.flush();
        }
    }

    static Map<String, Object> protocol(String mode) {
        String assignors = "org.apache.kafka.clients.consumer.";
        return switch (mode) {
            case "eager" -> Map.of(
                "partition.assignment.strategy",
                assignors + "RangeAssignor," + assignors + "RoundRobinAssignor",
                "session.timeout.ms",
                6000,
                "heartbeat.interval.ms",
                1000
            );
            case "cooperative" -> Map.of(
                "partition.assignment.strategy",
                assignors + "CooperativeStickyAssignor",
                "session.timeout.ms",
                6000,
                "heartbeat.interval.ms",
                1000
            );
            case "consumer" -> Map.of("group.protocol", "consumer");
            default -> throw new IllegalArgumentException("no mode " + mode);
        };
    }

    /** One place in the group, and the members that take it one after the other. */
    static final class Place extends Thread implements ConsumerRebalanceListener {

        final String topic;
        final Map<String, Object> settings;
        final Random random;
        final int number;
        final boolean isKip848;
        int life;
        String member;
        KafkaConsumer<byte[], byte[]> consumer;
        /** By the callbacks. */
        final Set<TopicPartition> owned = new HashSet<>();
        /** What has come and is not committed, also after a commit was refused for a rebalance. */
        final Map<TopicPartition, OffsetAndMetadata> uncommitted = new HashMap<>();

        Place(String[] arguments, int number) {
            topic = arguments[1];
            this.number = number;
            isKip848 = arguments[3].equals("consumer");
            random = new Random(Long.parseLong(arguments[5]) * 1000 + number);
            settings = new HashMap<>(protocol(arguments[3]));
            settings.put("bootstrap.servers", arguments[0]);
            settings.put("group.id", arguments[2]);
            settings.put("enable.auto.commit", false);
            settings.put("auto.offset.reset", "earliest");
            settings.put("max.poll.interval.ms", MAX_POLL_INTERVAL_MS);
            settings.put("fetch.max.wait.ms", 500);
            settings.put("reconnect.backoff.max.ms", 200);
            setDaemon(true);
        }

        @Override
        public void run() {
            try {
                while (true) {
                    live();
                    if (!isQuiet) {
                        Thread.sleep(random.nextInt(3000));
                    }
                }
            } catch (InterruptedException | InterruptException stopped) {
                Thread.currentThread().interrupt();
            } catch (Throwable failure) {
                failure.printStackTrace();
                say(member, "failed", 0, ",\"detail\":" + json(failure.toString()));
            }
        }

        /** One member from its birth to its end. */
        void live() throws InterruptedException {
            member = String.format("java-%d-%d", number, ++life);
            settings.put("client.id", member);
            uncommitted.clear();
            owned.clear();
            consumer = new KafkaConsumer<>(
                settings,
                new ByteArrayDeserializer(),
                new ByteArrayDeserializer()
            );
            say(member, "joined", 0, "");
            consumer.subscribe(List.of(topic), this);
            long lifeMs = random.nextInt(15_000);
            long lifeEnd = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(lifeMs);
            boolean mayPause = random.nextInt(4) == 0;
            while (isQuiet || System.nanoTime() < lifeEnd) {
                pollAndCommit();
                if (!isQuiet && mayPause && !consumer.assignment().isEmpty()) {
                    mayPause = false;
                    say(member, "paused", 0, "");
                    Thread.sleep(random.nextInt(MAX_POLL_INTERVAL_MS + 2000));
                    say(member, "resumed", 0, "");
                }
                Thread.sleep(POLL_PAUSE_MS);
            }
            if (random.nextInt(5) < 3) {
                consumer.close();
                say(member, "left", 0, "");
            } else {
                say(member, "died", 0, "");
                // Revocations that this close tells of are no longer those of a living member.
                member += "-dead";
                consumer.close(
                    CloseOptions.timeout(Duration.ZERO).withGroupMembershipOperation(
                        GroupMembershipOperation.REMAIN_IN_GROUP
                    )
                );
            }
        }

        void pollAndCommit() {
            for (ConsumerRecord<byte[], byte[]> record : poll()) {
                TopicPartition place = new TopicPartition(record.topic(), record.partition());
                // The consumer of KIP-848 still hands out what it had fetched in the very poll that
                // says that its partition is lost.
                if (owned.contains(place)) {
                    uncommitted.put(
                        place,
                        new OffsetAndMetadata(record.offset() + 1, record.leaderEpoch(), "")
                    );
                }
            }
            if (uncommitted.isEmpty()) {
                return;
            }
            int generation = generation();
            long began = System.nanoTime();
            String event = "committed";
            String more = "";
            try {
                consumer.commitSync(uncommitted, Duration.ofSeconds(10));
                String places = uncommitted.entrySet().stream()
                    .map(entry ->
                        String.format(
                            "\"%d\":%d",
                            entry.getKey().partition(),
                            entry.getValue().offset()
                        )
                    )
                    .collect(Collectors.joining(","));
                more = ",\"offsets\":{" + places + "}";
                uncommitted.clear();
            } catch (InterruptException stopped) {
                throw stopped;
            } catch (RuntimeException refused) {
                event = "refused";
                more = ",\"detail\":" + json(refused.getClass().getSimpleName());
            }
            // In which epoch it was sent is known if that did not change meanwhile. A classic
            // consumer may have joined a new generation that it shows only in the next callback.
            boolean isKnown = isKip848 && generation == generation();
            say(
                member,
                event,
                isKnown ? generation : 0,
                ",\"began\":" + began + more
            );
        }

        Iterable<ConsumerRecord<byte[], byte[]>> poll() {
            try {
                return consumer.poll(Duration.ofMillis(200));
            } catch (IllegalStateException race) {
                // The consumer of KIP-848 takes a partition away in one thread while another hands
                // out its records: "No current assignment for partition".
                return List.of();
            } catch (UnknownMemberIdException thrownOut) {
                // A KIP-848 member learns from the answer to its OffsetFetch that its session is
                // over, before a heartbeat tells its client, which then says that all is lost and
                // joins again. Kafka 4.2.2 ends the same poll with the same exception when what the
                // client sends is held up from that OffsetFetch on for longer than the session.
                if (!isKip848) {
                    throw thrownOut;
                }
                say(member, "fenced", 0, "");
                return List.of();
            }
        }

        int generation() {
            return consumer.groupMetadata().generationId();
        }

        void sayPartitions(String event, Collection<TopicPartition> partitions) {
            String numbers = partitions.stream()
                .map(place -> Integer.toString(place.partition()))
                .collect(Collectors.joining(","));
            say(member, event, generation(), ",\"partitions\":[" + numbers + "]");
        }

        @Override
        public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
            owned.addAll(partitions);
            sayPartitions("assigned", partitions);
        }

        @Override
        public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
            owned.removeAll(partitions);
            uncommitted.keySet().removeAll(partitions);
            sayPartitions("revoked", partitions);
        }

        @Override
        public void onPartitionsLost(Collection<TopicPartition> partitions) {
            owned.removeAll(partitions);
            uncommitted.keySet().removeAll(partitions);
            sayPartitions("lost", partitions);
        }
    }

    static String json(String text) {
        return '"' + text.replace("\\", "\\\\").replace("\"", "\\\"").replace("\n", " ") + '"';
    }

    public static void main(String[] arguments) throws Exception {
        List<Place> places = new ArrayList<>();
        for (int number = 0; number < Integer.parseInt(arguments[4]); number++) {
            Place place = new Place(arguments, number);
            places.add(place);
            place.start();
        }
        var commands = new BufferedReader(new InputStreamReader(System.in));
        for (String line = commands.readLine(); line != null; line = commands.readLine()) {
            if (line.equals("quiet")) {
                isQuiet = true;
            } else if (line.equals("stop")) {
                break;
            }
        }
        // Nobody says goodbye: what they own is theirs to the end.
        Runtime.getRuntime().halt(0);
    }
}
