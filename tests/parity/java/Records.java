import java.util.Map;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringSerializer;

/** Records with known times, which no tool writes: one a millisecond from {@link #START_MS} on. */
final class Records {

    static final long START_MS = 1_700_000_000_000L;

    private Records() {}

    /** Writes {@code count} records to one partition, each acknowledged before the next. */
    static String write(String bootstrap, String topic, int partition, int count)
        throws Exception {
        Map<String, Object> settings = Map.of("bootstrap.servers", bootstrap);
        var text = new StringSerializer();
        try (var producer = new KafkaProducer<>(settings, text, text)) {
            for (int number = 0; number < count; number++) {
                String value = "value " + number;
                producer.send(
                    new ProducerRecord<>(topic, partition, START_MS + number, "key", value)
                ).get();
            }
        }
        return count + " records written";
    }
}
