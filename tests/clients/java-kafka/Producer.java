import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Map;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Writes numbered records with the Java producer's defaults:
 * {@code Producer BOOTSTRAP TOPIC RECORDS BYTES}. Each value is its number in ten digits and dots
 * behind it, as ../../producers/producers.py reads them.
 */
public final class Producer {

    public static void main(String[] arguments) {
        int records = Integer.parseInt(arguments[2]);
        byte[] dots = new byte[Integer.parseInt(arguments[3])];
        Arrays.fill(dots, (byte) '.');
        AtomicReference<Exception> failure = new AtomicReference<>();
        Map<String, Object> settings = Map.of("bootstrap.servers", arguments[0]);
        try (
            var producer = new KafkaProducer<>(
                settings,
                new ByteArraySerializer(),
                new ByteArraySerializer()
            )
        ) {
            for (int number = 0; number < records; number++) {
                byte[] value = dots.clone();
                byte[] digits = String.format("%010d", number).getBytes(StandardCharsets.US_ASCII);
                System.arraycopy(digits, 0, value, 0, digits.length);
                producer.send(new ProducerRecord<>(arguments[1], value), (metadata, error) -> {
                    if (error != null) {
                        failure.compareAndSet(null, error);
                    }
                });
            }
        }
        if (failure.get() != null) {
            failure.get().printStackTrace();
            System.exit(1);
        }
    }
}
