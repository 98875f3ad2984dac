import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * Consumers in the background, so that the tools have live groups to look at.
 *
 * <p>{@code start NAME GROUP TOPIC [SETTING=VALUE…]} returns when the member owns a partition,
 * {@code stop NAME} when it has left. A member commits nothing by itself.
 */
final class Members implements AutoCloseable {

    static final int DEADLINE_S = 30;

    final String bootstrap;
    final Map<String, Member> members = new HashMap<>();

    Members(String bootstrap) {
        this.bootstrap = bootstrap;
    }

    String order(List<String> words) throws Exception {
        String name = words.get(1);
        switch (words.get(0)) {
            case "start" -> {
                Member member = new Member(settings(name, words), words.get(3));
                members.put(name, member);
                return member.awaitAssignment();
            }
            case "stop" -> {
                return members.remove(name).leave();
            }
            default -> throw new IllegalArgumentException("no such order: " + words);
        }
    }

    Map<String, Object> settings(String name, List<String> words) {
        Map<String, Object> settings = new HashMap<>();
        settings.put("bootstrap.servers", bootstrap);
        settings.put("client.id", name);
        settings.put("group.id", words.get(2));
        settings.put("enable.auto.commit", "false");
        settings.put("auto.offset.reset", "earliest");
        for (String setting : words.subList(4, words.size())) {
            String[] parts = setting.split("=", 2);
            settings.put(parts[0], parts[1]);
        }
        return settings;
    }

    @Override
    public void close() throws Exception {
        for (Member member : members.values()) {
            member.leave();
        }
    }

    /** One consumer and the thread that polls it. */
    static final class Member implements Runnable {

        final Map<String, Object> settings;
        final String topic;
        final CountDownLatch assigned = new CountDownLatch(1);
        final AtomicReference<Exception> failure = new AtomicReference<>();
        final Thread thread;
        volatile boolean leaving;

        Member(Map<String, Object> settings, String topic) {
            this.settings = settings;
            this.topic = topic;
            thread = new Thread(this, "member " + settings.get("client.id"));
            thread.setDaemon(true);
            thread.start();
        }

        @Override
        public void run() {
            var bytes = new ByteArrayDeserializer();
            try (var consumer = new KafkaConsumer<>(settings, bytes, bytes)) {
                consumer.subscribe(List.of(topic));
                while (!leaving) {
                    consumer.poll(Duration.ofMillis(50));
                    if (!consumer.assignment().isEmpty()) {
                        assigned.countDown();
                    }
                }
            } catch (Exception refused) {
                failure.set(refused);
                assigned.countDown();
            }
        }

        String awaitAssignment() throws Exception {
            if (!assigned.await(DEADLINE_S, TimeUnit.SECONDS)) {
                return "no partition within " + DEADLINE_S + " s";
            }
            return failure.get() == null ? "assigned" : failure.get().toString();
        }

        String leave() throws Exception {
            leaving = true;
            thread.join(TimeUnit.SECONDS.toMillis(DEADLINE_S));
            return failure.get() == null ? "left" : failure.get().toString();
        }
    }
}
