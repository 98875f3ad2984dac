package weir.oracle;

import java.io.IOException;
import java.lang.reflect.Field;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.jar.JarFile;
import org.apache.kafka.common.message.ApiMessageType;
import org.apache.kafka.common.protocol.ApiMessage;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.MessageUtil;
import org.apache.kafka.common.protocol.types.Schema;

/** Finds Kafka's class for a message's name, and writes and reads it as Kafka does. */
final class Catalog {
    private static final String CLIENT_PACKAGE = "org.apache.kafka.common.message.";
    private static final List<String> RECORD_PACKAGES = List.of(
        "org.apache.kafka.coordinator.group.generated.",
        "org.apache.kafka.coordinator.transaction.generated.");
    private static final List<String> DATA = List.of(
        "ConsumerProtocolAssignment", "ConsumerProtocolSubscription", "EndTxnMarker");

    private Catalog() {}

    /** Requests and responses that a broker serves. */
    static List<String> messages() {
        List<String> names = new ArrayList<>();
        for (ApiMessageType type : ApiMessageType.values()) {
            if (onBroker(type)) {
                names.add(type.name + "Request");
                names.add(type.name + "Response");
            }
        }
        return names;
    }

    static boolean onBroker(ApiMessageType type) {
        return type.listeners().contains(ApiMessageType.ListenerType.BROKER)
            && type.lowestSupportedVersion() <= type.highestSupportedVersion(true);
    }

    /** Keys and values of internal topics, and data that clients embed in requests. */
    static List<String> records() throws IOException, ReflectiveOperationException {
        List<String> names = new ArrayList<>(DATA);
        for (String known : List.of("GroupMetadataKey", "TransactionLogKey")) {
            String jar = find(known).getProtectionDomain().getCodeSource().getLocation().getPath();
            try (var file = new JarFile(jar)) {
                file.stream()
                    .map(entry -> entry.getName())
                    .filter(name -> name.startsWith("common/message/") && name.endsWith(".json"))
                    .map(name -> name.replace("common/message/", "").replace(".json", ""))
                    .sorted()
                    .forEach(names::add);
            }
        }
        return names;
    }

    static Class<?> find(String name) throws ClassNotFoundException {
        if (DATA.contains(name)) {
            return Class.forName(CLIENT_PACKAGE + name);
        }
        if (name.endsWith("Request") || name.endsWith("Response")) {
            return Class.forName(CLIENT_PACKAGE + name + "Data");
        }
        for (String prefix : RECORD_PACKAGES) {
            try {
                return Class.forName(prefix + name);
            } catch (ClassNotFoundException tryNext) {
                // The next package may have it.
            }
        }
        throw new ClassNotFoundException(name);
    }

    static short firstVersion(Class<?> type) throws ReflectiveOperationException {
        return (short) type.getField("LOWEST_SUPPORTED_VERSION").get(null);
    }

    static short lastVersion(Class<?> type) throws ReflectiveOperationException {
        return (short) type.getField("HIGHEST_SUPPORTED_VERSION").get(null);
    }

    static Schema schema(Class<?> type, short version) throws ReflectiveOperationException {
        Field schemas = type.getField("SCHEMAS");
        return ((Schema[]) schemas.get(null))[version];
    }

    /** What Kafka stores or sends: requests and responses bare, records behind their two bytes. */
    static byte[] encode(String name, Message message, short version) {
        if (name.endsWith("Request") || name.endsWith("Response")) {
            return bare(message, version);
        }
        if (name.endsWith("Key")) {
            return MessageUtil.toCoordinatorTypePrefixedBytes((ApiMessage) message);
        }
        return MessageUtil.toVersionPrefixedBytes(version, message);
    }

    static byte[] bare(Message message, short version) {
        ByteBuffer buffer = MessageUtil.toByteBufferAccessor(message, version).buffer();
        return MessageUtil.byteBufferToArray(buffer);
    }

    /** Reads what {@link #encode} wrote; the whole of it must be used. */
    static Message decode(String name, byte[] bytes, short version)
            throws ReflectiveOperationException {
        ByteBuffer buffer = ByteBuffer.wrap(bytes);
        if (!name.endsWith("Request") && !name.endsWith("Response")) {
            buffer.getShort();
        }
        Message message = (Message) find(name).getConstructor().newInstance();
        message.read(new ByteBufferAccessor(buffer), version);
        if (buffer.hasRemaining()) {
            throw new IllegalStateException(buffer.remaining() + " bytes are left");
        }
        return message;
    }
}
