package weir.oracle;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import org.apache.kafka.common.errors.RetriableException;
import org.apache.kafka.common.message.ApiMessageType;
import org.apache.kafka.common.message.RequestHeaderData;
import org.apache.kafka.common.message.ResponseHeaderData;
import org.apache.kafka.common.protocol.ApiKeys;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.protocol.Message;

/**
 * Makes fixtures from Kafka's own message classes, and checks bytes that weir wrote against them.
 *
 * <pre>
 *   generate REPOSITORY   writes proto/kafka/testdata and proto/records/testdata
 *   verify FILE...        reads and writes again every sample; the bytes must not change
 * </pre>
 */
public final class Oracle {
    /** Samples of mixed style for each message and version, beside one of defaults and one full. */
    private static final int MIXED_SAMPLES = 10;

    private Oracle() {}

    public static void main(String[] arguments) throws Exception {
        if (arguments.length == 2 && arguments[0].equals("generate")) {
            generate(Path.of(arguments[1]));
        } else if (arguments.length >= 2 && arguments[0].equals("verify")) {
            int failures = 0;
            for (String file : List.of(arguments).subList(1, arguments.length)) {
                failures += verify(Path.of(file));
            }
            System.exit(failures == 0 ? 0 : 1);
        } else {
            System.err.println("usage: generate REPOSITORY | verify FILE...");
            System.exit(2);
        }
    }

    private static void generate(Path repository) throws IOException, ReflectiveOperationException {
        Path messages = Files.createDirectories(repository.resolve("proto/kafka/testdata"));
        Fixtures.write(messages.resolve("messages.bin"), samples(Catalog.messages()));
        Fixtures.write(messages.resolve("headers.bin"), headers());
        Files.writeString(messages.resolve("errors.tsv"), errors());
        Path records = Files.createDirectories(repository.resolve("proto/records/testdata"));
        Fixtures.write(records.resolve("records.bin"), samples(Catalog.records()));
    }

    private static List<Fixtures.Group> samples(List<String> names)
            throws ReflectiveOperationException {
        List<Fixtures.Group> groups = new ArrayList<>();
        for (String name : names) {
            Class<?> type = Catalog.find(name);
            short last = Catalog.lastVersion(type);
            for (short version = Catalog.firstVersion(type); version <= last; version++) {
                groups.add(samples(name, type, version));
            }
        }
        return groups;
    }

    private static Fixtures.Group samples(String name, Class<?> type, short version)
            throws ReflectiveOperationException {
        List<byte[]> samples = new ArrayList<>();
        for (int index = 0; index < 2 + MIXED_SAMPLES; index++) {
            RandomMessage.Style style = switch (index) {
                case 0 -> RandomMessage.Style.DEFAULT;
                case 1 -> RandomMessage.Style.FULL;
                default -> RandomMessage.Style.MIXED;
            };
            long seed = 31L * (31L * name.hashCode() + version) + index;
            var random = new RandomMessage(seed, style);
            Object message = random.make(type, Catalog.schema(type, version));
            samples.add(Catalog.encode(name, (Message) message, version));
        }
        return new Fixtures.Group(name, version, samples);
    }

    /** Headers of every request and its response: Kafka says which version goes with which. */
    private static List<Fixtures.Group> headers() {
        List<Fixtures.Group> groups = new ArrayList<>();
        for (ApiMessageType type : ApiMessageType.values()) {
            if (!Catalog.onBroker(type)) {
                continue;
            }
            ApiKeys key = ApiKeys.forId(type.apiKey());
            short last = type.highestSupportedVersion(true);
            for (short version = type.lowestSupportedVersion(); version <= last; version++) {
                List<byte[]> requests = new ArrayList<>();
                for (String clientId : new String[] {null, "", "größe"}) {
                    var header = new RequestHeaderData()
                        .setRequestApiKey(key.id)
                        .setRequestApiVersion(version)
                        .setCorrelationId(-5 + version)
                        .setClientId(clientId);
                    requests.add(Catalog.bare(header, key.requestHeaderVersion(version)));
                }
                groups.add(new Fixtures.Group(type.name + "Request", version, requests));
                var header = new ResponseHeaderData().setCorrelationId(-5 + version);
                byte[] response = Catalog.bare(header, key.responseHeaderVersion(version));
                groups.add(new Fixtures.Group(type.name + "Response", version, List.of(response)));
            }
        }
        return groups;
    }

    private static String errors() {
        StringBuilder lines = new StringBuilder();
        for (Errors error : Errors.values()) {
            boolean retriable = error.exception() instanceof RetriableException;
            lines.append(String.format("%d\t%s\t%b%n", error.code(), error.name(), retriable));
        }
        return lines.toString();
    }

    private static int verify(Path file) throws IOException {
        int samples = 0;
        int failures = 0;
        for (Fixtures.Group group : Fixtures.read(file)) {
            for (byte[] bytes : group.samples()) {
                samples++;
                String problem = difference(group.name(), group.version(), bytes);
                if (problem != null) {
                    failures++;
                    System.err.printf("%s v%d: %s: %s%n", group.name(), group.version(), problem,
                        HexFormat.of().formatHex(bytes));
                }
            }
        }
        if (samples == 0) {
            System.err.println(file + " holds no sample");
            return 1;
        }
        System.out.printf(
            "%s: %d passed, %d failed%n", file.getFileName(), samples - failures, failures);
        return failures;
    }

    /** What is wrong with the bytes, or null. */
    private static String difference(String name, short version, byte[] bytes) {
        try {
            byte[] again = Catalog.encode(name, Catalog.decode(name, bytes, version), version);
            return Arrays.equals(bytes, again)
                ? null
                : "written again as " + HexFormat.of().formatHex(again);
        } catch (RuntimeException | ReflectiveOperationException problem) {
            return problem.toString();
        }
    }
}
